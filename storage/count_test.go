package storage_test

import (
	"io"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/faults"
)

func TestCounter(t *testing.T) {
	f, _ := newFaulty(t)
	c := storage.NewCounter(f)
	steps := []struct {
		name string
		do   func() error
		want storage.Totals // after it
	}{
		{"write", func() error {
			_, err := storage.WriteAll(t.Context(), c, "k", []byte("0123456789"), storage.Always)
			return err
		},
			storage.Totals{Requests: 1, BytesWritten: 10}},
		{"write that fails", func() error { _, _ = storage.WriteAll(t.Context(), c, "k", []byte("01"), storage.IfAbsent); return nil },
			storage.Totals{Requests: 2, Errors: 1, BytesWritten: 10}},
		{"read a range", func() error {
			body, _, err := c.Get(t.Context(), "k", storage.Range{Offset: 3})
			if err != nil {
				return err
			}
			if _, err := io.ReadAll(body); err != nil {
				return err
			}
			return body.Close()
		}, storage.Totals{Requests: 3, Errors: 1, BytesRead: 7, BytesWritten: 10}},
		{"body that breaks", func() error {
			f.script = func(faults.Call) faults.Fault { return faults.Fault{Effect: faults.Cut, After: 5} }
			_, _, _ = storage.ReadAll(t.Context(), c, "k", 100)
			f.script = never
			return nil
		}, storage.Totals{Requests: 4, Errors: 2, BytesRead: 12, BytesWritten: 10}},
		{"stat, list, copy, delete", func() error {
			if _, err := c.Stat(t.Context(), "k"); err != nil {
				return err
			}
			for _, err := range c.List(t.Context(), "", "") {
				if err != nil {
					return err
				}
			}
			if err := c.Copy(t.Context(), "k", "l"); err != nil {
				return err
			}
			return c.Delete(t.Context(), "k", "l")
		}, storage.Totals{Requests: 8, Errors: 2, BytesRead: 12, BytesWritten: 10}},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := c.Totals(); got != step.want {
			t.Errorf("after %s: got %+v, want %+v", step.name, got, step.want)
		}
	}
}

func TestReadAllRefusesTheLarge(t *testing.T) {
	_, s := newFaulty(t)
	if _, err := storage.WriteAll(t.Context(), s, "k", []byte("0123456789"), storage.Always); err != nil {
		t.Fatal(err)
	}
	if got, _, err := storage.ReadAll(t.Context(), s, "k", 10); err != nil || string(got) != "0123456789" {
		t.Errorf("got %q, %v", got, err)
	}
	_, _, err := storage.ReadAll(t.Context(), s, "k", 9)
	if err == nil || !strings.Contains(err.Error(), "10 bytes, at most 9") {
		t.Errorf("got error %v, want one with both sizes", err)
	}
}
