package arch

import "fmt"

// A layer is a set of package trees of one rank. A package imports packages of the layers
// below its own, and packages of its own tree; its neighbours only where peers says so.
type layer struct {
	trees []string
	peers bool
}

// layers, from the top.
var layers = []layer{
	{trees: []string{".", "./cmd/broker", "./cmd/client", "./cmd/weft", "./cmd/worker"}},
	{trees: []string{"./internal/cli"}},
	{trees: []string{"./internal/procs"}},
	{trees: []string{"./examples", "./internal/brokertest", "./internal/docs", "./internal/e2e", "./internal/sim", "./pkg/wefttest"}},
	{trees: []string{"./internal/broker", "./pkg/client", "./pkg/worker"}},
	{trees: []string{"./internal/cluster"}},
	{trees: []string{"./internal/shard", "./pkg/task"}},
	{trees: []string{"./internal/journal", "./internal/cron"}},
	{trees: cores, peers: true},
	{trees: []string{"./proto/weft/journal/v1", "./proto/weft/v1", "./internal/pure", "./internal/wire", "./internal/arch", "./pkg/internal/boottime"}, peers: true},
}

// place returns the rank of a package (0 is the top) and the tree that it belongs to.
func place(path string) (rank int, tree string, ok bool) {
	for rank, l := range layers {
		for _, tree := range l.trees {
			if within(path, tree) {
				return rank, tree, true
			}
		}
	}
	return 0, "", false
}

func checkLayers(m *Module) (broken []string) {
	for _, p := range m.Packages {
		rank, tree, ok := place(p.Path)
		if !ok {
			broken = append(broken, p.Path+" has no layer yet: add it to the list in internal/arch/layers.go")
			continue
		}
		for _, imported := range p.Imports {
			below, otherTree, ok := place(imported)
			switch {
			case !own(imported), !ok: // another module's, or reported as a package of its own
			case tree == otherTree, below > rank:
			case below == rank && layers[rank].peers:
			case below == rank:
				broken = append(broken, fmt.Sprintf("%s imports %s, which is of the same layer", p.Path, imported))
			default:
				broken = append(broken, fmt.Sprintf("%s imports %s, which is of a higher layer", p.Path, imported))
			}
		}
	}
	return broken
}
