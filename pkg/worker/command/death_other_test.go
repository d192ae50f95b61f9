//go:build unix && !linux

package command

func helperRunner([]string) {}
