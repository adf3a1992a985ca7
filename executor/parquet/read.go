package parquet

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/tidemill/tidemill/storage"
)

const (
	// guess is how much of a file's end is asked for at first: most footers are shorter.
	guess = 64 << 10
	// longest bounds footers, in bytes: some 500,000 column chunks.
	longest = 64 << 20
)

// Read reads the footer of an object in the version that object names, in one range read, or in two if the footer is
// long. Objects of less than 64 KiB are read as a whole and kept in memory, and [Footer.Fetch] asks for nothing more. It returns how many bytes it has read, too. Errors of storage wrap its sentinels; see the package for others.
func Read(ctx context.Context, store storage.Store, object storage.Object) (*Footer, int64, error) {
	if object.Size < int64(len(magic))+tail {
		return nil, 0, fmt.Errorf("%w: it has only %d bytes", ErrDamaged, object.Size)
	}
	end, err := readRange(ctx, store, object, object.Size-min(guess, object.Size), object.Size)
	if err != nil {
		return nil, 0, err
	}
	read := int64(len(end))
	var whole []byte
	if object.Size <= guess {
		whole = end // and nothing more needs to be fetched
	}
	length, err := footerLength(end, object.Size)
	if err != nil {
		return nil, read, err
	}
	begin := object.Size - tail - length
	if missing := length + tail - int64(len(end)); missing > 0 {
		more, err := readRange(ctx, store, object, begin, begin+missing)
		if err != nil {
			return nil, read, err
		}
		read += int64(len(more))
		end = append(more, end...)
	}
	end = end[int64(len(end))-length-tail : len(end)-tail]
	footer, err := parse(end, begin)
	if err != nil {
		return nil, read, err
	}
	footer.whole = whole
	return footer, read, nil
}

// footerLength reads the last bytes of a file.
func footerLength(end []byte, size int64) (int64, error) {
	last := end[len(end)-tail:]
	switch string(last[tail-len(magic):]) {
	case magic:
	case "PARE":
		return 0, ErrEncrypted
	default:
		return 0, fmt.Errorf("%w: it does not end in %s", ErrDamaged, magic)
	}
	length := int64(binary.LittleEndian.Uint32(last))
	if length > size-int64(len(magic))-tail {
		return 0, fmt.Errorf("%w: its footer would have %d bytes, and it has only %d", ErrDamaged, length, size)
	}
	if length > longest {
		return 0, fmt.Errorf("%w: its footer has %d bytes, more than the %d that are read", ErrDamaged, length, longest)
	}
	return length, nil
}

func readRange(ctx context.Context, store storage.Store, object storage.Object, from, to int64) ([]byte, error) {
	body, _, err := store.Get(ctx, object.Key, storage.Range{Offset: from, Length: to - from, ETag: object.ETag})
	if err != nil {
		return nil, err
	}
	data := make([]byte, to-from)
	_, err = io.ReadFull(body, data)
	if closeErr := body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, cutShort(err, object.Key, from)
	}
	return data, nil
}

// cutShort says of a body that ended too early what storage would.
func cutShort(err error, key string, at int64) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("read %q at %d: %w: fewer bytes came than were asked for", key, at, storage.ErrUnavailable)
	}
	return err
}
