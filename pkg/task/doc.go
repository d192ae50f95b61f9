// Package task has what clients and workers share about a task: its payload, its outcome and its errors.
//
// It is the SDK's own vocabulary over the messages of package weft.v1: small values that a program can
// hold on to, compare and print.
package task
