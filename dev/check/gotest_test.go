package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestSkippedTestsSayWhy(t *testing.T) {
	const events = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:27: needs ZooKeeper: there is no java\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"skip","Package":"p","Test":"TestB","Elapsed":0}
{"Action":"pass","Package":"p","Test":"TestC","Elapsed":0}
`
	var out bytes.Buffer
	passed, skipped, err := count(strings.NewReader(events), &out, &tally{})
	if err != nil || passed != 1 || skipped != 2 {
		t.Errorf("got %d passed, %d skipped, %v", passed, skipped, err)
	}
	const want = "skipped p TestA: needs ZooKeeper: there is no java\nskipped p TestB: no reason given\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
