// Package arch keeps the architecture: which package may import which, and what the pure
// cores may not touch. The rules are data (rules.go), the packages are read from their
// sources (load.go), and the test of this package holds the one against the other. A failure
// says what breaks which rule, and why the rule is there.
//
// A package that is new to the module needs a place in the list of layers; one line does it.
package arch
