package result

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// readParquet returns the columns and all rows of a file without nested columns.
func readParquet(data []byte) (columns []string, rows [][]string, err error) {
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, nil, err
	}
	fields := file.Schema().Fields()
	for _, f := range fields {
		columns = append(columns, f.Name())
	}
	buffer := make([]parquet.Row, 256)
	for _, group := range file.RowGroups() {
		reader := group.Rows()
		for {
			n, err := reader.ReadRows(buffer)
			for _, row := range buffer[:n] {
				if len(row) != len(fields) {
					return nil, nil, errors.Join(fmt.Errorf("a row has %d values for %d columns", len(row), len(fields)), reader.Close())
				}
				texts := make([]string, len(row))
				for i, value := range row {
					texts[i] = text(value, fields[i].Type())
				}
				rows = append(rows, texts)
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, nil, errors.Join(err, reader.Close())
			}
		}
		if err := reader.Close(); err != nil {
			return nil, nil, err
		}
	}
	return columns, rows, nil
}

// text writes a value as people do, by its column's logical type.
func text(v parquet.Value, t parquet.Type) string {
	if v.IsNull() {
		return Null
	}
	if l := t.LogicalType(); l != nil {
		switch l := l.Value.(type) {
		case *format.DecimalType:
			return decimal(v, int(l.Scale))
		case *format.DateType:
			return time.Unix(int64(v.Int32())*86400, 0).UTC().Format(time.DateOnly)
		case *format.TimestampType:
			return timestamp(v.Int64(), l.Unit).Format(time.RFC3339Nano)
		}
	}
	switch v.Kind() {
	case parquet.Boolean:
		return strconv.FormatBool(v.Boolean())
	case parquet.Int32:
		return strconv.FormatInt(int64(v.Int32()), 10)
	case parquet.Int64:
		return strconv.FormatInt(v.Int64(), 10)
	case parquet.Float:
		return strconv.FormatFloat(float64(v.Float()), 'g', -1, 32)
	case parquet.Double:
		return strconv.FormatFloat(v.Double(), 'g', -1, 64)
	default:
		return string(v.ByteArray())
	}
}

// decimal writes an unscaled two's complement integer, big-endian in byte arrays, with scale digits behind the point.
func decimal(v parquet.Value, scale int) string {
	n := new(big.Int)
	switch v.Kind() {
	case parquet.Int32:
		n.SetInt64(int64(v.Int32()))
	case parquet.Int64:
		n.SetInt64(v.Int64())
	default:
		raw := v.ByteArray()
		n.SetBytes(raw)
		if len(raw) > 0 && raw[0]&0x80 != 0 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
		}
	}
	if scale <= 0 {
		return n.String()
	}
	sign := ""
	if n.Sign() < 0 {
		sign = "-"
		n.Neg(n)
	}
	digits := n.String()
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}

func timestamp(n int64, unit format.TimeUnit) time.Time {
	switch unit.Value.(type) {
	case *format.MilliSeconds:
		return time.UnixMilli(n).UTC()
	case *format.NanoSeconds:
		return time.Unix(0, n).UTC()
	}
	return time.UnixMicro(n).UTC()
}
