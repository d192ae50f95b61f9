// Package journaltest is the suite that every journal.Stream passes, whatever it keeps its entries in, and
// that holds journal.Term to its promises on top of it.
package journaltest
