package gunzip

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// Errors of Read and NewReader about the data. A file that ends too early is io.ErrUnexpectedEOF.
var (
	ErrHeader   = errors.New("gzip: invalid header")
	ErrChecksum = errors.New("gzip: invalid checksum")
	ErrCorrupt  = errors.New("gzip: corrupt deflate data")
)

const (
	windowSize = 32 << 10
	roomSize   = 128 << 10 // that is filled before some of it is read
	slack      = 512       // behind the room: the longest match, and what is written with it in words
	inputSize  = 64 << 10
	ahead      = 32 // bytes that decoding wants in front of it
)

// Reader gives the content of all members of a gzip file, one after another.
type Reader struct {
	source io.Reader
	failed error // what Read gives when all is read

	in       [inputSize + 2*ahead]byte
	pos, end int    // of what is not taken yet
	ended    bool   // there is nothing behind end but zeros
	bits     uint64 // taken from in, the next ones lowest; above count they may be there, too
	count    uint   // valid ones

	out         [windowSize + roomSize + slack]byte
	read, write int // of out
	member      int // where in out the member begins, as far as it is still there

	block  blockKind
	last   bool // the block is the member's last
	stored int  // bytes that are left of a stored block
	tables
	sum  uint32
	size uint32
}

type blockKind uint8

const (
	none blockKind = iota // a header of a block comes next
	storedBlock
	codedBlock
)

// NewReader reads the header of the first member. An empty source is io.EOF.
func NewReader(source io.Reader) (*Reader, error) {
	r := &Reader{source: source}
	if err := r.header(); err != nil {
		return nil, err
	}
	return r, nil
}

// Read implements io.Reader: io.EOF comes after all members were found whole.
func (r *Reader) Read(p []byte) (int, error) {
	for r.read == r.write {
		if r.failed != nil {
			return 0, r.failed
		}
		if len(p) == 0 {
			return 0, nil
		}
		r.fill()
	}
	n := copy(p, r.out[r.read:r.write])
	r.read += n
	return n, nil
}

// fill makes more of the content, all of which has been read, or sets failed.
func (r *Reader) fill() {
	if r.write >= windowSize+roomSize {
		shift := r.write - windowSize
		copy(r.out[:windowSize], r.out[shift:r.write])
		r.read, r.write, r.member = windowSize, windowSize, max(0, r.member-shift)
	}
	err := r.decode()
	made := r.out[r.read:r.write]
	r.sum = crc32.Update(r.sum, crc32.IEEETable, made)
	r.size += uint32(len(made))
	if err == nil && r.block == none && r.last {
		err = r.nextMember()
	}
	r.failed = err
}

// overrun says that zeros behind the end have been used.
func (r *Reader) overrun() bool { return r.ended && r.pos-int(r.count>>3) > r.end }

// decode goes on in the block, or with the next one, and returns when the room is full or a block is over.
func (r *Reader) decode() error {
	for {
		var err error
		switch r.block {
		case none:
			err = r.blockHeader()
		case storedBlock:
			err = r.copyStored()
		case codedBlock:
			before := r.write
			err = r.codes()
			if r.overrun() {
				r.write, err = before, io.ErrUnexpectedEOF
			}
		}
		if err != nil || r.block == none || r.write >= windowSize+roomSize {
			return err
		}
		if r.block == codedBlock || r.pos >= r.end {
			if err := r.more(); err != nil {
				return err
			}
		}
	}
}

// more sees to it that there is enough ahead for a step of decoding: input, or, at its end, zeros.
func (r *Reader) more() error {
	if r.end-r.pos >= ahead {
		return nil
	}
	if r.ended {
		return nil
	}
	kept := min(r.pos, 8) // align may give them back
	r.end = copy(r.in[:], r.in[r.pos-kept:r.end])
	r.pos = kept
	for tries := 0; r.end-r.pos < ahead; {
		n, err := r.source.Read(r.in[r.end:inputSize])
		r.end += n
		switch {
		case err == io.EOF:
			r.ended = true
			clear(r.in[r.end : r.end+2*ahead])
			return nil
		case err != nil:
			return err
		case n > 0:
			tries = 0
		default:
			if tries++; tries == 100 {
				return io.ErrNoProgress
			}
		}
	}
	return nil
}

// ensure has n bits ready, at most 56; behind the end they are zeros.
func (r *Reader) ensure(n uint) error {
	if r.count >= n {
		return nil
	}
	if err := r.more(); err != nil {
		return err
	}
	r.bits |= binary.LittleEndian.Uint64(r.in[r.pos:]) << (r.count & 63)
	r.pos += int((63 - r.count) >> 3)
	r.count |= 56
	return nil
}

// bitsOf takes n bits, at most 16.
func (r *Reader) bitsOf(n uint) (uint32, error) {
	if err := r.ensure(n); err != nil {
		return 0, err
	}
	v := uint32(r.bits) & (1<<n - 1)
	r.bits >>= n
	r.count -= n
	if r.overrun() {
		return 0, io.ErrUnexpectedEOF
	}
	return v, nil
}

// align gives the bits of whole bytes back, so that bytes can be taken from in.
func (r *Reader) align() {
	r.pos -= int(r.count >> 3)
	r.bits, r.count = 0, 0
}

// nextByte takes a byte, when bits have been given back.
func (r *Reader) nextByte() (byte, error) {
	if r.pos >= r.end {
		if err := r.more(); err != nil {
			return 0, err
		}
		if r.pos >= r.end {
			return 0, io.EOF
		}
	}
	b := r.in[r.pos]
	r.pos++
	return b, nil
}

// copyStored takes bytes of a stored block.
func (r *Reader) copyStored() error {
	if r.pos >= r.end && r.stored > 0 {
		if err := r.more(); err != nil {
			return err
		}
		if r.pos >= r.end {
			return io.ErrUnexpectedEOF
		}
	}
	n := min(r.stored, r.end-r.pos, windowSize+roomSize-r.write)
	copy(r.out[r.write:r.write+n], r.in[r.pos:r.pos+n])
	r.pos, r.write, r.stored = r.pos+n, r.write+n, r.stored-n
	if r.stored == 0 {
		r.block = none
	}
	return nil
}

// nextMember compares the checksum of a member, and reads the header of the next one. io.EOF says that there is none.
func (r *Reader) nextMember() error {
	r.align()
	var trailer [8]byte
	for i := range trailer {
		b, err := r.nextByte()
		if err != nil {
			return unexpected(err)
		}
		trailer[i] = b
	}
	if binary.LittleEndian.Uint32(trailer[:4]) != r.sum || binary.LittleEndian.Uint32(trailer[4:]) != r.size {
		return ErrChecksum
	}
	r.sum, r.size, r.last, r.member = 0, 0, false, r.write
	return r.header()
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Flags of a header.
const (
	flagSum     = 1 << 1
	flagExtra   = 1 << 2
	flagName    = 1 << 3
	flagComment = 1 << 4
)

// headerReader reads a header and sums it up.
type headerReader struct {
	*Reader
	sum uint32
}

// ReadByte gives the next byte of the header.
func (h *headerReader) ReadByte() (byte, error) {
	b, err := h.nextByte()
	if err == nil {
		h.sum = crc32.Update(h.sum, crc32.IEEETable, []byte{b})
	}
	return b, unexpected(err)
}

func (h *headerReader) skip(n int) error {
	for range n {
		if _, err := h.ReadByte(); err != nil {
			return err
		}
	}
	return nil
}

// header reads the header of a member. io.EOF says that there is none.
func (r *Reader) header() error {
	first, err := r.nextByte()
	if err != nil {
		return err
	}
	h := &headerReader{r, crc32.ChecksumIEEE([]byte{first})}
	var rest [9]byte
	for i := range rest {
		if rest[i], err = h.ReadByte(); err != nil {
			return err
		}
	}
	if first != 0x1f || rest[0] != 0x8b || rest[1] != 8 {
		return ErrHeader
	}
	flags := rest[2]
	if flags&flagExtra != 0 {
		var size [2]byte
		for i := range size {
			if size[i], err = h.ReadByte(); err != nil {
				return err
			}
		}
		if err := h.skip(int(binary.LittleEndian.Uint16(size[:]))); err != nil {
			return err
		}
	}
	for _, flag := range []byte{flagName, flagComment} {
		for more := flags&flag != 0; more; {
			b, err := h.ReadByte()
			if err != nil {
				return err
			}
			more = b != 0
		}
	}
	if flags&flagSum == 0 {
		return nil
	}
	want := uint16(h.sum)
	for i := range 2 {
		b, err := h.ReadByte()
		if err != nil {
			return err
		}
		if b != byte(want>>(8*i)) {
			return ErrHeader
		}
	}
	return nil
}
