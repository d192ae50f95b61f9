package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// Format is the directory's layout that this version writes, and the newest that it knows.
	Format = 1

	// Engine is the kind of store whose directories this package guards.
	Engine = "embedded"

	identityFile = "weft.json"

	// identityMax is far more than an identity takes.
	identityMax = 64 << 10
)

// identity is what the directory says of itself. A newer version may add fields.
type identity struct {
	Format int    `json:"format"`
	Engine string `json:"engine"`
	ID     string `json:"id"`
}

// check refuses an identity that is not for this version and engine.
func (id identity) check(dir string) error {
	switch {
	case id.Format < 1:
		return &IdentityError{dir, fmt.Sprintf("format %d", id.Format)}
	case id.Engine == "":
		return &IdentityError{dir, "no engine"}
	case id.Engine != Engine:
		return &EngineError{dir, id.Engine}
	}
	if raw, err := hex.DecodeString(id.ID); err != nil || len(raw) != 16 {
		return &IdentityError{dir, fmt.Sprintf("id %q", id.ID)}
	}
	return nil
}

func (d *Dir) readIdentity() (identity, error) {
	var id identity
	name := filepath.Join(d.path, identityFile)
	fi, err := os.Lstat(name)
	if err != nil {
		return id, err
	}
	if !fi.Mode().IsRegular() {
		return id, &IdentityError{d.path, "not a regular file"}
	}
	if fi.Size() > identityMax {
		return id, &IdentityError{d.path, fmt.Sprintf("%d bytes are too many", fi.Size())}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return id, err
	}
	return id, id.parse(d.path, text)
}

// parse reads the format first: the rest may have changed with it.
func (id *identity) parse(dir string, text []byte) error {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return &IdentityError{dir, err.Error()}
	}
	if version.Format > Format {
		return &FormatError{dir, version.Format}
	}
	if err := json.Unmarshal(text, id); err != nil {
		return &IdentityError{dir, err.Error()}
	}
	return nil
}

// identify takes over the identity, or gives the directory one. It is called with the lock held.
func (d *Dir) identify() error {
	id, err := d.readIdentity()
	if errors.Is(err, fs.ErrNotExist) {
		var raw [16]byte
		rand.Read(raw[:]) // never fails
		id = identity{Format: Format, Engine: Engine, ID: hex.EncodeToString(raw[:])}
		err = d.writeIdentity(id)
	}
	if err != nil {
		return err
	}
	d.id = id.ID
	return d.removeTemporaries()
}

// writeIdentity leaves the whole identity, or none and a temporary file, whenever the machine stops.
func (d *Dir) writeIdentity(id identity) error {
	text, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(d.path, identityFile+".*.tmp")
	if err != nil {
		return err
	}
	err = d.write(f, append(text, '\n'), 0)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(d.path, identityFile))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	for _, dir := range d.made { // their names are as new as the identity
		if err := syncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return syncDir(d.path)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func isTemporary(name string) bool {
	return strings.HasPrefix(name, identityFile+".") && strings.HasSuffix(name, ".tmp")
}

func (d *Dir) removeTemporaries() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if isTemporary(e.Name()) {
			if err := os.Remove(filepath.Join(d.path, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
