package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemill/tidemill/scheduler"
)

// Nodes, below the path of the session's URL:
//
//	/store/fence               fence, as JSON. Every write sets it, expecting the version that it has seen
//	/store/records/<bucket>/…  a node for each record, named by a hash of its key
//	/store/ring/<slot>         which records one of the last commits has changed
//	/store/journal/…           parts of a commit that is too large for one request
//
// All but records and journal parts are made once, together.
const (
	rootPath    = "/store"
	fencePath   = rootPath + "/fence"
	recordsPath = rootPath + "/records"
	ringPath    = rootPath + "/ring"
	journalPath = rootPath + "/journal"
)

const (
	layoutFormat = 1
	// ZooKeeper refuses requests and answers above 1 MiB (jute.maxbuffer), and large nodes and long lists make it slow long
	// before. A list of children is 1,000 names of 32 letters; the answer to a request is smaller than the request.
	maxNode     = 256 << 10 // bytes of data
	maxRequest  = 512 << 10 // bytes, as Session.Size counts them
	maxChildren = 1000
	buckets     = 1000
	ringSlots   = 500
	maxRing     = 2048     // changes that a slot names; a commit of more makes followers read everything anew
	maxInline   = 1 << 10  // bytes of a record that a slot has itself, so that followers need not read it
	maxInlines  = 16 << 10 // bytes of all of them in one slot
	maxParts    = 900
)

// fence says who may write and what was written. A commit is one more; a leader is one epoch more and another leader.
type fence struct {
	Format  int      `json:"format"`
	Epoch   uint64   `json:"epoch"`
	Leader  string   `json:"leader"` // random, so that each leader knows its own writes
	Commit  uint64   `json:"commit"` // the last that was decided
	Journal *journal `json:"journal,omitempty"`
}

// journal is the last commit as long as it is decided but not carried out in all records.
type journal struct {
	Name    string `json:"name"` // of the parts, before their numbers
	Parts   int    `json:"parts"`
	SHA256  string `json:"sha256"` // of all parts, lower-case hex
	Applied int    `json:"applied"`
}

func (f fence) encode() []byte {
	data, err := json.Marshal(f)
	if err != nil {
		panic(fmt.Sprintf("encode fence: %v", err)) // numbers and texts only
	}
	return data
}

func decodeFence(data []byte) (fence, error) {
	var f fence
	if err := json.Unmarshal(data, &f); err != nil {
		return fence{}, fmt.Errorf("%w: its fence cannot be read: %w", ErrFormat, err)
	}
	if f.Format != layoutFormat {
		return fence{}, fmt.Errorf("%w: its layout is %d, not %d", ErrFormat, f.Format, layoutFormat)
	}
	return f, nil
}

// name is where a record lies: half of the SHA-256 of its key.
type name [16]byte

func nameOf(key scheduler.Key) name {
	h := sha256.New()
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(key.Kind)))
	h.Write(length[:])
	h.Write([]byte(key.Kind))
	h.Write([]byte(key.ID))
	return name(h.Sum(nil))
}

func parseName(text string) (n name, ok bool) {
	got, err := hex.Decode(n[:], []byte(text[:min(len(text), 2*len(n))]))
	return n, err == nil && got == len(n) && len(text) == 2*len(n)
}

func (n name) bucket() int { return int(binary.BigEndian.Uint16(n[:])) % buckets }

func (n name) path() string { return bucketPath(n.bucket()) + "/" + hex.EncodeToString(n[:]) }

func bucketPath(number int) string { return fmt.Sprintf("%s/%03d", recordsPath, number) }

func slotPath(commit uint64) string { return fmt.Sprintf("%s/%03d", ringPath, commit%ringSlots) }

var errNode = errors.New("a node does not hold what it should")

// encodeRecord makes a record's node: the number of the commit that wrote it, its kind and ID, and its value.
func encodeRecord(commit uint64, key scheduler.Key, value []byte) []byte {
	data := make([]byte, 0, 8+2*binary.MaxVarintLen16+len(key.Kind)+len(key.ID)+len(value))
	data = binary.BigEndian.AppendUint64(data, commit)
	for _, text := range []string{string(key.Kind), key.ID} {
		data = binary.AppendUvarint(data, uint64(len(text)))
		data = append(data, text...)
	}
	return append(data, value...)
}

// entry is a record with the commit that wrote it.
type entry struct {
	commit uint64
	record scheduler.Record
}

func decodeRecord(data []byte) (e entry, err error) {
	if len(data) < 8 {
		return entry{}, errNode
	}
	e.commit = binary.BigEndian.Uint64(data)
	data = data[8:]
	var key [2]string
	for i := range key {
		length, n := binary.Uvarint(data)
		if n <= 0 || length > uint64(len(data)-n) {
			return entry{}, errNode
		}
		key[i] = string(data[n : n+int(length)])
		data = data[n+int(length):]
	}
	e.record = scheduler.Record{Key: scheduler.Key{Kind: scheduler.RecordKind(key[0]), ID: key[1]}, Value: data}
	return e, nil
}

// step is a change on its way to a node.
type step struct {
	name name
	data []byte // of the node; nil: remove it
}

// steps encodes changes: one for each key, the last one, in the order of names. Errors: an empty ID, ErrTooLarge.
func steps(commit uint64, changes []scheduler.Change) ([]step, error) {
	last := make(map[name]step, len(changes))
	for _, change := range changes {
		if change.Key.ID == "" || change.Key.Kind == "" {
			return nil, fmt.Errorf("%s %q: a key without kind or ID", change.Key.Kind, change.Key.ID)
		}
		s := step{name: nameOf(change.Key)}
		if change.Value != nil {
			s.data = encodeRecord(commit, change.Key, change.Value)
		}
		if len(s.data) > maxNode {
			return nil, fmt.Errorf("%s %q: %w: %d bytes, at most %d fit with its key", change.Key.Kind, change.Key.ID,
				ErrTooLarge, len(change.Value), maxNode-(len(s.data)-len(change.Value)))
		}
		last[s.name] = s
	}
	out := make([]step, 0, len(last))
	for _, s := range last {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b step) int { return slices.Compare(a.name[:], b.name[:]) })
	return out, nil
}

// slot is what a commit has changed. A reload changed too much to be told.
type slot struct {
	commit  uint64
	reload  bool
	changes []slotChange
}

// slotChange is one record's. Small ones are there as a whole.
type slotChange struct {
	name    name
	removed bool
	data    []byte // of the node; nil: removed, or to be read there
}

func slotOf(commit uint64, all []step) slot {
	s := slot{commit: commit}
	if len(all) > maxRing {
		s.reload = true
		return s
	}
	total := 0
	for _, one := range all {
		c := slotChange{name: one.name, removed: one.data == nil}
		if len(one.data) <= maxInline && total+len(one.data) <= maxInlines {
			c.data = one.data
			total += len(one.data)
		}
		s.changes = append(s.changes, c)
	}
	return s
}

// What a slot begins with, after the number of its commit, and each of its changes, after its name.
const (
	slotChanges, slotReload               = 0, 1
	changeRemoved, changeRead, changeHere = 0, 1, 2
)

func (s slot) encode() []byte {
	data := binary.BigEndian.AppendUint64(nil, s.commit)
	if s.reload {
		return append(data, slotReload)
	}
	data = append(data, slotChanges)
	for _, c := range s.changes {
		data = append(data, c.name[:]...)
		switch {
		case c.removed:
			data = append(data, changeRemoved)
		case c.data == nil:
			data = append(data, changeRead)
		default:
			data = append(data, changeHere)
			data = binary.AppendUvarint(data, uint64(len(c.data)))
			data = append(data, c.data...)
		}
	}
	return data
}

func decodeSlot(data []byte) (s slot, err error) {
	if len(data) < 9 || data[8] > slotReload || data[8] == slotReload && len(data) > 9 {
		return slot{}, errNode
	}
	s.commit, s.reload = binary.BigEndian.Uint64(data), data[8] == slotReload
	for rest := data[9:]; len(rest) > 0; {
		if len(rest) < len(name{})+1 {
			return slot{}, errNode
		}
		c := slotChange{name: name(rest)}
		how := rest[len(c.name)]
		rest = rest[len(c.name)+1:]
		switch how {
		case changeRemoved:
			c.removed = true
		case changeRead:
		case changeHere:
			length, n := binary.Uvarint(rest)
			if n <= 0 || length > uint64(len(rest)-n) {
				return slot{}, errNode
			}
			rest = rest[n:]
			c.data, rest = rest[:length:length], rest[length:]
		default:
			return slot{}, errNode
		}
		s.changes = append(s.changes, c)
	}
	return s, nil
}

// encodeJournal writes steps one after the other: name, 0 or the length of the data plus 1, data.
func encodeJournal(all []step) []byte {
	var out []byte
	for _, s := range all {
		out = append(out, s.name[:]...)
		if s.data == nil {
			out = append(out, 0)
			continue
		}
		out = binary.AppendUvarint(out, uint64(len(s.data))+1)
		out = append(out, s.data...)
	}
	return out
}

func decodeJournal(data []byte) (all []step, err error) {
	for len(data) > 0 {
		if len(data) < len(name{}) {
			return nil, errNode
		}
		s := step{name: name(data)}
		data = data[len(s.name):]
		length, n := binary.Uvarint(data)
		if n <= 0 {
			return nil, errNode
		}
		data = data[n:]
		if length > 0 {
			if length-1 > uint64(len(data)) {
				return nil, errNode
			}
			s.data = data[: length-1 : length-1]
			data = data[length-1:]
		}
		all = append(all, s)
	}
	return all, nil
}

// byKey is the order of Load: by kind, then by ID.
func byKey(a, b scheduler.Record) int {
	return cmp.Or(cmp.Compare(a.Key.Kind, b.Key.Kind), cmp.Compare(a.Key.ID, b.Key.ID))
}
