package artifacts

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

// header is what begins an ELF file.
func header(class, order, machineLow, machineHigh byte) string {
	return "\x7fELF" + string([]byte{class, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, machineLow, machineHigh})
}

func TestCheckMachine(t *testing.T) {
	const darwinARM = "\xcf\xfa\xed\xfe\x0c\x00\x00\x01\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00"
	for name, test := range map[string]struct{ file, os, arch, wrong string }{
		"amd64":               {amd64, "linux", "amd64", ""},
		"arm64":               {header(2, 1, 0xb7, 0), "linux", "arm64", ""},
		"s390x":               {header(2, 2, 0, 0x16), "linux", "s390x", ""},
		"ppc64le":             {header(2, 1, 0x15, 0), "linux", "ppc64le", ""},
		"x86 as arm64":        {amd64, "linux", "arm64", "EM_AARCH64), but its ELF header says EM_X86_64"},
		"arm64 as x86":        {header(2, 1, 0xb7, 0), "linux", "amd64", "says EM_AARCH64"},
		"32 bits as 64":       {header(1, 1, 3, 0), "linux", "amd64", "EM_386, ELFCLASS32"},
		"x32":                 {header(1, 1, 0x3e, 0), "linux", "amd64", "ELFCLASS32"},
		"other byte order":    {header(2, 2, 0, 0x15), "linux", "ppc64le", "MSB"},
		"no such arch":        {amd64, "linux", "z80", "z80"},
		"a script":            {"#!/bin/sh\nexec something else\n", "linux", "amd64", "no ELF program"},
		"short":               {"\x7fELF", "linux", "amd64", "no ELF program"},
		"nothing":             {"", "linux", "amd64", "no ELF program"},
		"darwin":              {darwinARM, "darwin", "arm64", ""},
		"darwin, other arch":  {darwinARM, "darwin", "amd64", "Mach-O header says CpuArm64"},
		"darwin, z80":         {darwinARM, "darwin", "z80", "z80"},
		"an ELF as darwin":    {amd64, "darwin", "amd64", "no 64-bit Mach-O"},
		"darwin as linux":     {darwinARM, "linux", "arm64", "no ELF program"},
		"another system":      {"MZ" + strings.Repeat("\x00", 30), "windows", "amd64", "linux and darwin"},
		"nothing for windows": {"", "windows", "amd64", "windows"},
	} {
		err := checkMachine(strings.NewReader(test.file), int64(len(test.file)), test.os, test.arch)
		if (err == nil) != (test.wrong == "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%s: got %v, want %q", name, err, test.wrong)
		}
	}
}

// What Go builds here is taken for what it is.
func TestCheckMachineOfThisTest(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := checkMachine(file, headerSize, runtime.GOOS, runtime.GOARCH); err != nil {
		t.Error(err)
	}
}
