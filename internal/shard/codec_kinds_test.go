package shard

import (
	"maps"
	"slices"

	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

func sortedKinds() []string { return slices.Sorted(maps.Keys(recordGenerators)) }

// recordKinds is how many kinds of records the schema has.
func recordKinds() int {
	return (&journalv1.Record{}).ProtoReflect().Descriptor().Oneofs().ByName("change").Fields().Len()
}
