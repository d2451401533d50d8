package recordtest

import (
	"errors"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"plasticity/record"
)

// ErrDied is what every operation returns after the process of a MemFS died.
var ErrDied = errors.New("the process has died")

// MemFS is a file system in memory with faults. Paths are taken from the root; there are no links. Operations count from 1
// since the last NewMemFS, Restart, Crash or Clone; reads count too. It may be used from several goroutines.
//
// What was written is volatile until the file's Sync, and a name until the SyncDir of its folder. After a Sync that was made
// to fail, the file's bytes never become durable, though a second Sync says so: that is what Linux does.
type MemFS struct {
	mu    sync.Mutex
	root  *node
	epoch int // handles of an earlier epoch are dead

	ops     int
	written int64
	names   []operation
	died    bool

	failAt     int
	failErr    error
	failAlways bool
	dieAt      int
	dieAtByte  int64
	capacity   int64

	// NoExchange makes Exchange answer errors.ErrUnsupported.
	NoExchange bool
}

var _ record.FS = (*MemFS)(nil)

// operation is one that was begun.
type operation struct{ kind, path string }

// node is a file or folder.
type node struct {
	dir bool

	data     []byte // of a file: what readers see
	synced   []byte // what is left after a power cut
	poisoned bool   // a sync failed: data never becomes durable

	entries map[string]*node   // of a folder: what readers see
	durable map[string]*node   // what is left after a power cut
	history []map[string]*node // what could be left, oldest first: entries after each change since the last sync
}

func newDir() *node {
	return &node{dir: true, entries: map[string]*node{}, durable: map[string]*node{}}
}

// set changes one name of a folder; nil removes it.
func (n *node) set(name string, child *node) {
	if child == nil {
		delete(n.entries, name)
	} else {
		n.entries[name] = child
	}
	n.history = append(n.history, maps.Clone(n.entries))
}

// NewMemFS returns an empty file system without faults and without a limit of space.
func NewMemFS() *MemFS {
	m := &MemFS{root: newDir()}
	m.clearFaults()
	return m
}

func (m *MemFS) clearFaults() {
	m.ops, m.written, m.names, m.died = 0, 0, nil, false
	m.failAt, m.failErr, m.failAlways, m.dieAt = 0, nil, false, 0
	m.dieAtByte, m.capacity = math.MaxInt64, math.MaxInt64
}

// FailAt makes the n-th operation fail with err, once.
func (m *MemFS) FailAt(n int, err error) { m.failAt, m.failErr, m.failAlways = n, err, false }

// FailFrom makes the n-th operation and all later ones fail with err.
func (m *MemFS) FailFrom(n int, err error) { m.failAt, m.failErr, m.failAlways = n, err, true }

// DieAt kills the process at its n-th operation: that one and all later ones do nothing and return ErrDied.
func (m *MemFS) DieAt(n int) { m.dieAt = n }

// DieAtByte kills the process when k bytes have been written: the write that would go beyond stops there.
func (m *MemFS) DieAtByte(k int64) { m.dieAtByte = k }

// SetCapacity limits the bytes in files; a write beyond stores what fits and returns ENOSPC.
func (m *MemFS) SetCapacity(bytes int64) { m.capacity = bytes }

// Ops returns how many operations were begun; Written how many bytes were written.
func (m *MemFS) Ops() int { return m.ops }

// Written returns how many bytes were written.
func (m *MemFS) Written() int64 { return m.written }

// OpName returns the n-th operation as text, for messages; empty when there was none.
func (m *MemFS) OpName(n int) string {
	if n < 1 || n > len(m.names) {
		return ""
	}
	return m.names[n-1].kind + " " + m.names[n-1].path
}

// Restart is the next process after the death of the last: faults are cleared, handles dead, all that was written is there.
func (m *MemFS) Restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	m.clearFaults()
}

// Cut says what a power cut leaves of what was not synced.
type Cut int

// What a power cut may leave.
const (
	LoseAll   Cut = iota // nothing
	KeepNames            // the names of files, but not their bytes: journalling file systems do this
	Random               // by chance: any earlier state of a folder; any part of a file's bytes, or zeros
)

// Crash cuts the power and starts again. rng decides for Random and may be nil otherwise.
func (m *MemFS) Crash(cut Cut, rng *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	m.clearFaults()
	m.root.cut(cut, rng)
}

func (n *node) cut(cut Cut, rng *rand.Rand) {
	if !n.dir {
		n.data = n.leftBytes(cut, rng)
		n.synced, n.poisoned = slices.Clone(n.data), false
		return
	}
	left := n.durable
	switch {
	case cut == KeepNames:
		left = n.entries
	case cut == Random && len(n.history) > 0:
		if i := rng.IntN(len(n.history) + 1); i > 0 {
			left = n.history[i-1]
		}
	}
	n.entries, n.durable, n.history = maps.Clone(left), maps.Clone(left), nil
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		n.entries[name].cut(cut, rng)
	}
}

// leftBytes returns what a power cut leaves of a file. Bytes that are durable and were not written again are safe.
func (n *node) leftBytes(cut Cut, rng *rand.Rand) []byte {
	if cut != Random || slices.Equal(n.data, n.synced) {
		return n.synced
	}
	safe := 0
	for safe < min(len(n.data), len(n.synced)) && n.data[safe] == n.synced[safe] {
		safe++
	}
	at := safe + rng.IntN(len(n.data)-safe+1)
	switch rng.IntN(4) {
	case 0:
		return n.synced
	case 1:
		return n.data
	case 2:
		return slices.Clone(n.data[:at])
	default: // the length arrived, a part of the bytes did not
		torn := slices.Clone(n.data)
		clear(torn[at:])
		return torn
	}
}

// Clone returns an independent copy without faults; open handles stay with the original.
func (m *MemFS) Clone() *MemFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMemFS()
	c.NoExchange = m.NoExchange
	c.root = m.root.clone(map[*node]*node{})
	return c
}

// clone copies a tree; seen keeps a node that has several names one node.
func (n *node) clone(seen map[*node]*node) *node {
	if c, ok := seen[n]; ok {
		return c
	}
	c := &node{dir: n.dir, poisoned: n.poisoned, data: slices.Clone(n.data), synced: slices.Clone(n.synced)}
	seen[n] = c
	names := func(from map[string]*node) map[string]*node {
		to := make(map[string]*node, len(from))
		for name, child := range from {
			to[name] = child.clone(seen)
		}
		return to
	}
	if n.dir {
		c.entries, c.durable = names(n.entries), names(n.durable)
		for _, h := range n.history {
			c.history = append(c.history, names(h))
		}
	}
	return c
}

// Flip inverts bits of one durable byte of a file, as a failing disk does.
func (m *MemFS) Flip(name string, offset int, bits byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("flip", name)
	if err != nil {
		return err
	}
	if n.dir || offset < 0 || offset >= len(n.data) {
		return pathError("flip", name, syscall.EINVAL)
	}
	n.data[offset] ^= bits
	n.synced = slices.Clone(n.data)
	return nil
}

// Files lists the paths of all files, sorted.
func (m *MemFS) Files() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var files []string
	m.root.list("/", &files)
	slices.Sort(files)
	return files
}

func (n *node) list(at string, files *[]string) {
	for name, child := range n.entries {
		path := filepath.Join(at, name)
		if child.dir {
			child.list(path, files)
			continue
		}
		*files = append(*files, path)
	}
}

// begin counts an operation and returns the fault that strikes it.
func (m *MemFS) begin(op, name string) error {
	if m.died {
		return ErrDied
	}
	m.ops++
	m.names = append(m.names, operation{op, name})
	if m.ops == m.dieAt {
		m.died = true
		return ErrDied
	}
	if m.failErr != nil && (m.ops == m.failAt || m.failAlways && m.ops > m.failAt) {
		return pathError(op, name, m.failErr)
	}
	return nil
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// split returns the folder that holds name, and its last element.
func (m *MemFS) split(op, name string) (*node, string, error) {
	clean := filepath.Clean("/" + name)
	if clean == "/" {
		return nil, "", pathError(op, name, syscall.EBUSY)
	}
	dir, base := filepath.Split(clean)
	n, err := m.find(op, dir)
	if err != nil {
		return nil, "", err
	}
	if !n.dir {
		return nil, "", pathError(op, name, syscall.ENOTDIR)
	}
	return n, base, nil
}

// find returns what is under name.
func (m *MemFS) find(op, name string) (*node, error) {
	n := m.root
	for _, part := range strings.Split(filepath.Clean("/"+name), "/") {
		if part == "" {
			continue
		}
		if !n.dir {
			return nil, pathError(op, name, syscall.ENOTDIR)
		}
		child, ok := n.entries[part]
		if !ok {
			return nil, pathError(op, name, syscall.ENOENT)
		}
		n = child
	}
	return n, nil
}

// used returns the bytes in all files.
func (n *node) used() int64 {
	sum := int64(len(n.data))
	for _, child := range n.entries {
		sum += child.used()
	}
	return sum
}
