package input

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// codec is one compression.
type codec struct {
	suffixes []string // of names of files that are compressed so
	begins   func(head []byte) bool
	open     func(stored io.Reader) (io.Reader, func(), error)
}

// longestMagic is how many bytes begins is given, or fewer at the end of the file.
const longestMagic = 10

var codecs = map[string]codec{
	Gzip: {
		suffixes: []string{".gz", ".gzip"},
		begins:   magic("\x1f\x8b"),
		open: func(stored io.Reader) (io.Reader, func(), error) {
			decoder, err := gzip.NewReader(stored)
			// Close only repeats what the last Read said, or would have said had there been one.
			return decoder, nil, err
		},
	},
	Zstd: {
		suffixes: []string{".zst", ".zstd"},
		begins:   func(head []byte) bool { return magic("\x28\xb5\x2f\xfd")(head) || skippable(head) },
		open: func(stored io.Reader) (io.Reader, func(), error) {
			decoder, err := zstd.NewReader(stored, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
			if err != nil {
				return nil, nil, err
			}
			return decoder, decoder.Close, nil
		},
	},
	LZ4: {
		suffixes: []string{".lz4"},
		begins:   func(head []byte) bool { return magic(lz4Magic)(head) || skippable(head) },
		open: func(stored io.Reader) (io.Reader, func(), error) {
			decoder := lz4.NewReader(&lz4Frames{stored: stored})
			return decoder, func() { decoder.Reset(nil) }, nil // gives its buffers back
		},
	},
	Snappy: {
		suffixes: []string{".sz", ".snappy"},
		begins:   magic("\xff\x06\x00\x00sNaPpY"),
		open:     func(stored io.Reader) (io.Reader, func(), error) { return snappy.NewReader(stored), nil, nil },
	},
	Bzip2: {
		suffixes: []string{".bz2"},
		begins:   magic("BZh"),
		open:     func(stored io.Reader) (io.Reader, func(), error) { return bzip2.NewReader(stored), nil, nil },
	},
}

func magic(text string) func([]byte) bool {
	return func(head []byte) bool { return bytes.HasPrefix(head, []byte(text)) }
}

// skippable is the beginning of a frame without data, of zstd and lz4.
func skippable(head []byte) bool {
	return len(head) >= 4 && head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18"
}

// compression of a file: the declared one, or what its name says.
func compression(declared, key string) string {
	if declared != "auto" {
		return declared
	}
	for name, c := range codecs {
		for _, suffix := range c.suffixes {
			if strings.HasSuffix(key, suffix) {
				return name
			}
		}
	}
	return Plain
}

// decompress puts the decoder of a compression before what is stored. Members that follow one another are one stream.
func (p *plain) decompress(stored *namedReader, format string) error {
	c := codecs[format]
	in := bufio.NewReaderSize(stored, 64<<10)
	head, err := in.Peek(longestMagic)
	switch {
	case err != nil && err != io.EOF:
		return err
	case len(head) == 0 && format == Snappy: // nothing, framed
		return nil
	case len(head) == 0:
		return stored.broken(format, io.ErrUnexpectedEOF)
	case !c.begins(head):
		return stored.broken(format, errFormat)
	}
	decoder, free, err := c.open(in)
	if err != nil {
		return stored.broken(format, err)
	}
	p.Reader = &decodedReader{reader: decoder, stored: stored, format: format}
	if free != nil {
		p.closers = append(p.closers, func() error { free(); return nil })
	}
	return nil
}

// errFormat is the error of a file that is something else.
var errFormat = errors.New("it does not begin as such a file")

// decodedReader turns a decoder's errors into failures.
type decodedReader struct {
	reader io.Reader
	stored *namedReader
	format string
}

func (d *decodedReader) Read(p []byte) (int, error) {
	k, err := d.reader.Read(p)
	if err != nil && err != io.EOF {
		err = d.stored.broken(d.format, err)
	}
	return k, err
}

const lz4Magic = "\x04\x22\x4d\x18"

// lz4Frames passes frames of LZ4 on and follows their structure, because the decoder takes a file that was cut between
// two blocks for a whole one.
type lz4Frames struct {
	stored io.Reader
	at     lz4Place
	skip   int64  // bytes of the frame that say nothing about its structure
	field  []byte // what was read of the next field
	blocks bool   // they have checksums
	whole  bool   // the frame has one
	seen   bool   // a frame of data
}

// lz4Place is which field comes next.
type lz4Place uint8

const (
	lz4Frame      lz4Place = iota // the magic number of a frame
	lz4Descriptor                 // its flags
	lz4Skippable                  // the size of a frame without data
	lz4Block                      // the size of a block
)

var lz4Fields = [...]int{lz4Frame: 4, lz4Descriptor: 1, lz4Skippable: 4, lz4Block: 4}

func (f *lz4Frames) Read(p []byte) (int, error) {
	n, err := f.stored.Read(p)
	f.follow(p[:n])
	if err == io.EOF && (!f.seen || f.at != lz4Frame || f.skip > 0 || len(f.field) > 0) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (f *lz4Frames) follow(data []byte) {
	for len(data) > 0 {
		if f.skip > 0 {
			n := min(f.skip, int64(len(data)))
			f.skip -= n
			data = data[n:]
			continue
		}
		n := min(lz4Fields[f.at]-len(f.field), len(data))
		f.field = append(f.field, data[:n]...)
		data = data[n:]
		if len(f.field) == lz4Fields[f.at] {
			f.next(f.field)
			f.field = f.field[:0]
		}
	}
}

// next moves behind a field. What is wrong with it is the decoder's affair.
func (f *lz4Frames) next(field []byte) {
	switch f.at {
	case lz4Frame:
		if f.at = lz4Descriptor; skippable(field) {
			f.at = lz4Skippable
		}
	case lz4Skippable:
		f.at, f.skip = lz4Frame, int64(binary.LittleEndian.Uint32(field))
	case lz4Descriptor:
		flags := field[0]
		f.blocks, f.whole, f.seen = flags&0x10 != 0, flags&0x04 != 0, true
		f.at, f.skip = lz4Block, 2 // the largest block, the header's checksum
		if flags&0x08 != 0 {
			f.skip += 8 // the size of the content
		}
		if flags&0x01 != 0 {
			f.skip += 4 // a dictionary
		}
	case lz4Block:
		size := int64(binary.LittleEndian.Uint32(field) & 0x7fffffff)
		if f.skip = size; f.blocks && size > 0 {
			f.skip += 4
		}
		if size == 0 {
			if f.at = lz4Frame; f.whole {
				f.skip = 4
			}
		}
	}
}
