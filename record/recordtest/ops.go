package recordtest

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"plasticity/record"
)

// OpenFile implements record.FS.
func (m *MemFS) OpenFile(name string, flag int, _ fs.FileMode) (record.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("open", name); err != nil {
		return nil, err
	}
	parent, base, err := m.split("open", name)
	if err != nil {
		return nil, err
	}
	n, there := parent.entries[base]
	writable := flag&(os.O_WRONLY|os.O_RDWR) != 0
	switch {
	case !there && flag&os.O_CREATE == 0:
		return nil, pathError("open", name, syscall.ENOENT)
	case there && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, pathError("open", name, syscall.EEXIST)
	case there && n.dir && writable:
		return nil, pathError("open", name, syscall.EISDIR)
	case !there:
		n = &node{}
		parent.set(base, n)
	}
	if flag&os.O_TRUNC != 0 {
		n.data = nil
	}
	return &handle{fsys: m, node: n, name: name, flag: flag, epoch: m.epoch}, nil
}

// Rename implements record.FS.
func (m *MemFS) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("rename", oldName+" to "+newName); err != nil {
		return err
	}
	from, oldBase, err := m.split("rename", oldName)
	if err != nil {
		return err
	}
	to, newBase, err := m.split("rename", newName)
	if err != nil {
		return err
	}
	n, there := from.entries[oldBase]
	if !there {
		return pathError("rename", oldName, syscall.ENOENT)
	}
	if target, there := to.entries[newBase]; there {
		switch {
		case target.dir && !n.dir:
			return pathError("rename", newName, syscall.EISDIR)
		case !target.dir && n.dir:
			return pathError("rename", newName, syscall.ENOTDIR)
		case target.dir && len(target.entries) > 0:
			return pathError("rename", newName, syscall.ENOTEMPTY)
		}
	}
	if from == to { // one change of the folder, not two
		delete(from.entries, oldBase)
	} else {
		from.set(oldBase, nil)
	}
	to.set(newBase, n)
	return nil
}

// Exchange implements record.FS.
func (m *MemFS) Exchange(a, b string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("exchange", a+" with "+b); err != nil {
		return err
	}
	if m.NoExchange {
		return errors.ErrUnsupported
	}
	dirA, baseA, err := m.split("exchange", a)
	if err != nil {
		return err
	}
	dirB, baseB, err := m.split("exchange", b)
	if err != nil {
		return err
	}
	nodeA, okA := dirA.entries[baseA]
	nodeB, okB := dirB.entries[baseB]
	if !okA || !okB {
		return pathError("exchange", a, syscall.ENOENT)
	}
	if dirA == dirB {
		dirA.entries[baseA] = nodeB
	} else {
		dirA.set(baseA, nodeB)
	}
	dirB.set(baseB, nodeA)
	return nil
}

// Remove implements record.FS.
func (m *MemFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.remove(name)
}

func (m *MemFS) remove(name string) error {
	if err := m.begin("remove", name); err != nil {
		return err
	}
	parent, base, err := m.split("remove", name)
	if err != nil {
		return err
	}
	n, there := parent.entries[base]
	switch {
	case !there:
		return pathError("remove", name, syscall.ENOENT)
	case len(n.entries) > 0:
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	parent.set(base, nil)
	return nil
}

// RemoveAll implements record.FS; each thing that it removes is an operation of its own.
func (m *MemFS) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.removeAll(name)
}

func (m *MemFS) removeAll(name string) error {
	n, err := m.find("remove", name)
	if errors.Is(err, fs.ErrNotExist) {
		return m.begin("remove", name)
	}
	if err != nil {
		return err
	}
	for _, child := range slices.Sorted(maps.Keys(n.entries)) {
		if err := m.removeAll(filepath.Join(name, child)); err != nil {
			return err
		}
	}
	return m.remove(name)
}

// Mkdir implements record.FS.
func (m *MemFS) Mkdir(name string, _ fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mkdir(name)
}

func (m *MemFS) mkdir(name string) error {
	if err := m.begin("mkdir", name); err != nil {
		return err
	}
	parent, base, err := m.split("mkdir", name)
	if err != nil {
		return err
	}
	if _, there := parent.entries[base]; there {
		return pathError("mkdir", name, syscall.EEXIST)
	}
	parent.set(base, newDir())
	return nil
}

// MkdirAll implements record.FS; each folder that it makes is an operation of its own.
func (m *MemFS) MkdirAll(name string, perm fs.FileMode) error {
	clean := filepath.Clean("/" + name)
	if clean == "/" {
		return nil
	}
	if err := m.MkdirAll(filepath.Dir(clean), perm); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, err := m.find("mkdir", clean); err == nil && n.dir {
		return nil
	}
	return m.mkdir(clean)
}

// ReadDir implements record.FS.
func (m *MemFS) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("list", name); err != nil {
		return nil, err
	}
	n, err := m.find("list", name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, pathError("list", name, syscall.ENOTDIR)
	}
	entries := make([]fs.DirEntry, 0, len(n.entries))
	for _, child := range slices.Sorted(maps.Keys(n.entries)) {
		entries = append(entries, fs.FileInfoToDirEntry(n.entries[child].info(child)))
	}
	return entries, nil
}

// Stat implements record.FS.
func (m *MemFS) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("stat", name); err != nil {
		return nil, err
	}
	n, err := m.find("stat", name)
	if err != nil {
		return nil, err
	}
	return n.info(filepath.Base(name)), nil
}

// Lstat implements record.FS.
func (m *MemFS) Lstat(name string) (fs.FileInfo, error) { return m.Stat(name) }

// SyncDir implements record.FS.
func (m *MemFS) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("sync folder", name); err != nil {
		return err
	}
	n, err := m.find("sync folder", name)
	if err != nil {
		return err
	}
	if !n.dir {
		return pathError("sync folder", name, syscall.ENOTDIR)
	}
	n.durable, n.history = maps.Clone(n.entries), nil
	return nil
}

// FreeBytes implements record.FS.
func (m *MemFS) FreeBytes(dir string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("statfs", dir); err != nil {
		return 0, err
	}
	if _, err := m.find("statfs", dir); err != nil {
		return 0, err
	}
	return m.free(), nil
}

func (m *MemFS) free() int64 {
	if m.capacity == math.MaxInt64 {
		return m.capacity
	}
	return max(0, m.capacity-m.root.used())
}

// handle is an open file.
type handle struct {
	fsys   *MemFS
	node   *node
	name   string
	flag   int
	epoch  int
	at     int64
	closed bool
}

// begin counts an operation on the handle.
func (h *handle) begin(op string) error {
	switch {
	case h.epoch != h.fsys.epoch:
		return ErrDied
	case h.closed:
		return pathError(op, h.name, fs.ErrClosed)
	}
	return h.fsys.begin(op, h.name)
}

func (h *handle) Read(p []byte) (int, error) {
	n, err := h.ReadAt(p, h.at)
	h.at += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (h *handle) ReadAt(p []byte, at int64) (int, error) {
	h.fsys.mu.Lock()
	defer h.fsys.mu.Unlock()
	if err := h.begin("read"); err != nil {
		return 0, err
	}
	if h.node.dir {
		return 0, pathError("read", h.name, syscall.EISDIR)
	}
	if at >= int64(len(h.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.node.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) Write(p []byte) (int, error) {
	h.fsys.mu.Lock()
	defer h.fsys.mu.Unlock()
	if err := h.begin("write"); err != nil {
		return 0, err
	}
	if h.flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		return 0, pathError("write", h.name, syscall.EBADF)
	}
	if h.flag&os.O_APPEND != 0 {
		h.at = int64(len(h.node.data))
	}
	n, err := int64(len(p)), error(nil)
	if free := h.fsys.free(); n > free {
		n, err = free, pathError("write", h.name, syscall.ENOSPC)
	}
	if left := h.fsys.dieAtByte - h.fsys.written; n > left {
		n, err = left, ErrDied
		h.fsys.died = true
	}
	if h.at > int64(len(h.node.data)) { // the file was made shorter under the handle
		h.node.data = append(h.node.data, make([]byte, h.at-int64(len(h.node.data)))...)
	}
	over := copy(h.node.data[h.at:], p[:n])
	h.node.data = append(h.node.data, p[over:n]...)
	h.at += n
	h.fsys.written += n
	return int(n), err
}

func (h *handle) Sync() error {
	h.fsys.mu.Lock()
	defer h.fsys.mu.Unlock()
	err := h.begin("sync")
	switch {
	case errors.Is(err, ErrDied):
	case err != nil:
		h.node.poisoned = true
	case !h.node.poisoned:
		h.node.synced = slices.Clone(h.node.data)
	}
	return err
}

func (h *handle) Truncate(size int64) error {
	h.fsys.mu.Lock()
	defer h.fsys.mu.Unlock()
	if err := h.begin("truncate"); err != nil {
		return err
	}
	if size < 0 || size > int64(len(h.node.data)) {
		return pathError("truncate", h.name, syscall.EINVAL) // files never grow this way here
	}
	h.node.data = h.node.data[:size:size]
	return nil
}

func (h *handle) Stat() (fs.FileInfo, error) {
	h.fsys.mu.Lock()
	defer h.fsys.mu.Unlock()
	if err := h.begin("stat"); err != nil {
		return nil, err
	}
	return h.node.info(filepath.Base(h.name)), nil
}

// Close counts as an operation too: a network file system reports a failed write here.
func (h *handle) Close() error {
	h.fsys.mu.Lock()
	defer h.fsys.mu.Unlock()
	err := h.begin("close")
	h.closed = true
	return err
}

// info describes a node; times are zero, since nothing may depend on them.
type info struct {
	name string
	size int64
	mode fs.FileMode
}

func (n *node) info(name string) fs.FileInfo {
	if n.dir {
		return info{name: name, mode: fs.ModeDir | record.DirMode}
	}
	return info{name: name, size: int64(len(n.data)), mode: record.FileMode}
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
