package arch

import (
	"slices"
	"testing"
)

// TestArchitecture holds every rule against the module as it is.
func TestArchitecture(t *testing.T) {
	m, err := Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(m.Packages, func(p Package) bool { return p.Path == "./internal/arch" }) {
		t.Fatalf("the module was not read: this package is missing among %d", len(m.Packages))
	}
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			broken := rule.Check(m)
			for _, b := range broken {
				t.Error(b)
			}
			if len(broken) > 0 {
				t.Log("the reason for this rule: " + rule.Reason)
			}
		})
	}
}
