package service

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tidemill/tidemill/executor"
	"github.com/tidemill/tidemill/executor/describe"
	"github.com/tidemill/tidemill/executor/process"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/proto"
	reader "github.com/tidemill/tidemill/proto/describe"
)

// runExecutor makes this test binary an executor whose aggregations do nothing.
func runExecutor() int {
	return executor.Main(process.Kinds{Jobs: kinds.All(), Work: []task.Kind{idleKind{}}})
}

// artifact is an executor file that runs this test binary. It describes itself as the version that the binary has.
func artifact() (version, content string) {
	own := describe.Own()
	executable, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return own.Version, launcher(executable) + fmt.Sprintf("%s%s;%s%s;",
		reader.BlockMarker, reader.JSON(proto.Description{
			OS: own.OS, Arch: own.Arch, ProtocolMin: own.ProtocolMin, ProtocolMax: own.ProtocolMax, Kinds: own.Kinds, Features: own.Features,
		}), reader.VersionMarker, own.Version)
}

// launcher is the smallest program for linux-amd64 that becomes another one, with its own arguments and environment: what
// is registered has to be a program, and this test binary is too large to be uploaded by each test.
func launcher(path string) string {
	const base, headers = 0x400000, 64 + 56
	code := "\x48\x8b\x04\x24" + // mov rax, [rsp]: number of arguments
		"\x48\x8d\x74\x24\x08" + // lea rsi, [rsp+8]: arguments
		"\x48\x8d\x54\xc4\x10" + // lea rdx, [rsp+rax*8+16]: environment
		"\x48\x8d\x3d\x13\x00\x00\x00" + // lea rdi, [rip+19]: path, which stands behind the code
		"\xb8\x3b\x00\x00\x00\x0f\x05" + // execve
		"\xbf\x01\x00\x00\x00\xb8\x3c\x00\x00\x00\x0f\x05" + // exit(1)
		path + "\x00"
	size := uint64(headers + len(code))
	var out bytes.Buffer
	for _, header := range []any{
		elf.Header64{
			Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
			Entry: base + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
		},
		elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
			Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x1000,
		},
	} {
		if err := binary.Write(&out, binary.LittleEndian, header); err != nil {
			panic(err)
		}
	}
	return out.String() + code
}

// splits is how many map tasks a run has.
const splits = 3

// idleKind has the stages of an aggregation and does no work. A map task ends once the file that the run's parameter
// "gate" names is there. With the parameter "lag" there is one map task more, and the first attempt of the first one
// gets nowhere until it is killed.
type idleKind struct{}

func (idleKind) Name() string { return "aggregate" }

func (idleKind) Run(ctx context.Context, work *task.Work) ([]byte, error) {
	work.Log.Info("idle", "stage", work.Data.Stage, "index", work.Data.Index)
	switch work.Data.Stage {
	case "check":
		return proto.Encode(&proto.CheckOutput{}), nil
	case "plan":
		n := uint32(splits)
		if work.Data.Params["lag"] != "" {
			n++
		}
		return proto.Encode(&proto.AggregatePlanOutput{PlanURI: "file:///plan", Splits: n, Partitions: 1}), nil
	case "map":
		if work.Data.Params["lag"] != "" && work.Data.Index == 0 && work.Data.Attempt == 1 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return proto.Encode(&proto.AggregateMapOutput{Bytes: 1, Groups: 1}), awaitFile(ctx, work.Data.Params["gate"])
	case "reduce":
		return proto.Encode(&proto.AggregateReduceOutput{Committed: &proto.Output{
			URI: "file:///result/", Manifest: "file:///result/_manifest.json", Rows: 42, Files: 1,
		}}), nil
	}
	return nil, errors.New("no such stage")
}

func awaitFile(ctx context.Context, path string) error {
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
