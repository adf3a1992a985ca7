package store

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
	"unicode/utf8"

	"github.com/tidemill/tidemill/scheduler"
)

// An export is text: a line of JSON with a [Header], one for each record, and one with their number and the SHA-256 of
// all lines before it. It may be compressed with gzip. It holds all records as one commit left them, from whatever store.

// exportFormat names the layout of the lines. What the values look like is the record of kind format.
const exportFormat = "tidemill-export-1"

// maxLine bounds a line of an export, in bytes. The largest values are plans, which the scheduler bounds to a few MiB.
const maxLine = 96 << 20

// Header says what an export is of.
type Header struct {
	Format   string    `json:"format"`
	Version  string    `json:"version"` // of the tidemill that wrote it
	Exported time.Time `json:"exported"`
	Records  int       `json:"records"`
	Epoch    uint64    `json:"epoch"` // of the store; 0 if its terms are not numbered
}

type exportedRecord struct {
	Kind  scheduler.RecordKind `json:"kind"`
	ID    string               `json:"id"`
	Value []byte               `json:"value"` // base64
}

type trailer struct {
	Records int    `json:"records"`
	SHA256  string `json:"sha256"` // of all bytes before this line
}

// ErrExport: what was given is not a whole, unchanged export. Nothing was read from it; take another copy.
var ErrExport = errors.New("it is not a whole export of tidemill")

// Export writes records as an export. Of the header it takes version, time and epoch.
func Export(w io.Writer, header Header, records []scheduler.Record) error {
	header.Format, header.Records = exportFormat, len(records)
	sum := sha256.New()
	buffered := bufio.NewWriter(w)
	lines := json.NewEncoder(io.MultiWriter(buffered, sum))
	lines.SetEscapeHTML(false)
	if err := lines.Encode(header); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	for _, r := range records {
		if !utf8.ValidString(r.Key.ID) || !utf8.ValidString(string(r.Key.Kind)) {
			return fmt.Errorf("write export: the key of %s %q is not text", r.Key.Kind, r.Key.ID)
		}
		value := r.Value
		if value == nil {
			value = []byte{} // an empty record, not none
		}
		if err := lines.Encode(exportedRecord{r.Key.Kind, r.Key.ID, value}); err != nil {
			return fmt.Errorf("write export: %w", err)
		}
	}
	last := trailer{Records: len(records), SHA256: hex.EncodeToString(sum.Sum(nil))}
	if err := errors.Join(json.NewEncoder(buffered).Encode(last), buffered.Flush()); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

// Import reads a whole export, compressed or not. It returns nothing but an error, ErrExport, for one that was cut off
// or changed.
func Import(r io.Reader) (Header, []scheduler.Record, error) {
	header, records, err := readExport(r)
	if err != nil {
		return Header{}, nil, fmt.Errorf("read export: %w", err)
	}
	return header, records, nil
}

func readExport(r io.Reader) (header Header, records []scheduler.Record, err error) {
	in, err := plain(r)
	if err != nil {
		return header, nil, err
	}
	sum := sha256.New()
	line, err := nextLine(in)
	if err != nil {
		return header, nil, err
	}
	if err := decodeLine(line, &header); err != nil || header.Format != exportFormat || header.Records < 0 {
		return header, nil, fmt.Errorf("%w: its first line is not one that this version knows", ErrExport)
	}
	sum.Write(line)
	seen := make(map[scheduler.Key]bool)
	for n := range header.Records {
		if line, err = nextLine(in); err != nil {
			return header, nil, err
		}
		sum.Write(line)
		var record exportedRecord
		if err := decodeLine(line, &record); err != nil {
			return header, nil, fmt.Errorf("%w: line %d is not a record: %w", ErrExport, n+2, err)
		}
		key := scheduler.Key{Kind: record.Kind, ID: record.ID}
		if key.Kind == "" || key.ID == "" || record.Value == nil || seen[key] {
			return header, nil, fmt.Errorf("%w: line %d has no key or value, or the key of another line", ErrExport, n+2)
		}
		seen[key] = true
		records = append(records, scheduler.Record{Key: key, Value: record.Value})
	}
	return header, records, checkEnd(in, sum, len(records))
}

// checkEnd reads the last line, which must be right about all before it, and have nothing after it.
func checkEnd(in *bufio.Reader, sum hash.Hash, records int) error {
	line, err := nextLine(in)
	if err != nil {
		return err
	}
	var last trailer
	if err := decodeLine(line, &last); err != nil {
		return fmt.Errorf("%w: its last line is not one: %w", ErrExport, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); last.SHA256 != got || last.Records != records {
		return fmt.Errorf("%w: its lines are not those that its sum was made of", ErrExport)
	}
	switch _, err := in.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: something follows its last line", ErrExport)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %w", ErrExport, err)
	}
	return nil
}

// plain decompresses what is compressed.
func plain(r io.Reader) (*bufio.Reader, error) {
	in := bufio.NewReader(r)
	head, err := in.Peek(2)
	if err != nil || !bytes.Equal(head, []byte{0x1f, 0x8b}) {
		return in, nil // what is wrong with it shows when it is read
	}
	inner, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrExport, err)
	}
	return bufio.NewReader(inner), nil
}

// nextLine returns a line with its end.
func nextLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull) && len(line) <= maxLine:
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("%w: a line is longer than %d bytes", ErrExport, maxLine)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, fmt.Errorf("%w: it ends too early", ErrExport)
		default:
			return nil, fmt.Errorf("%w: %w", ErrExport, err)
		}
	}
}

func decodeLine(line []byte, to any) error {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	return decoder.Decode(to)
}
