package queue

import (
	"reflect"
	"testing"
)

// No setting is left out of a comparison.
func TestSettingsThatDiffer(t *testing.T) {
	a := Settings{Order: FIFO, MaxSize: 1, Defaults: &Options{}}
	if d := a.differ(&Settings{Order: FIFO, MaxSize: 1, Defaults: &Options{}}); len(d) != 0 {
		t.Errorf("equal ones differ: %v", d)
	}
	for i := range reflect.TypeFor[Settings]().NumField() {
		b := a
		f := reflect.ValueOf(&b).Elem().Field(i)
		switch f.Kind() {
		case reflect.Float64:
			f.SetFloat(7)
		case reflect.Pointer:
			f.Set(reflect.ValueOf(&Options{Timeout: 1}))
		default:
			f.SetUint(7)
		}
		if d := a.differ(&b); len(d) != 1 || len(b.differ(&a)) != 1 {
			t.Errorf("another %s: %v", reflect.TypeFor[Settings]().Field(i).Name, d)
		}
		b.Defaults = nil
		if len(a.differ(&b)) == 0 || len(b.differ(&a)) == 0 {
			t.Error("no defaults are the same as some")
		}
	}
}
