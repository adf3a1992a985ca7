package artifacts

import (
	"debug/elf"
	"debug/macho"
	"encoding/binary"
	"fmt"
	"io"
)

// headerSize is how many bytes of a file are looked at: the part of the headers that says for which machine it is.
const headerSize = 20

// machine is how a file's header names an architecture.
type machine struct {
	class elf.Class
	order elf.Data
	id    elf.Machine
}

// machines are the architectures of Go's Linux.
var machines = map[string]machine{
	"386":      {elf.ELFCLASS32, elf.ELFDATA2LSB, elf.EM_386},
	"amd64":    {elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_X86_64},
	"arm":      {elf.ELFCLASS32, elf.ELFDATA2LSB, elf.EM_ARM},
	"arm64":    {elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_AARCH64},
	"loong64":  {elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_LOONGARCH},
	"mips":     {elf.ELFCLASS32, elf.ELFDATA2MSB, elf.EM_MIPS},
	"mipsle":   {elf.ELFCLASS32, elf.ELFDATA2LSB, elf.EM_MIPS},
	"mips64":   {elf.ELFCLASS64, elf.ELFDATA2MSB, elf.EM_MIPS},
	"mips64le": {elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_MIPS},
	"ppc64":    {elf.ELFCLASS64, elf.ELFDATA2MSB, elf.EM_PPC64},
	"ppc64le":  {elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_PPC64},
	"riscv64":  {elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_RISCV},
	"s390x":    {elf.ELFCLASS64, elf.ELFDATA2MSB, elf.EM_S390},
}

// cpus are the architectures of Go's Darwin.
var cpus = map[string]macho.Cpu{"amd64": macho.CpuAmd64, "arm64": macho.CpuArm64}

// checkMachine compares what a file's own header says with the platform that its description names. The description
// comes out of the same file, but a wrong build can stamp any into it.
func checkMachine(file io.ReaderAt, size int64, goos, arch string) error {
	header := make([]byte, headerSize)
	if size >= headerSize {
		if _, err := file.ReadAt(header, 0); err != nil {
			return fmt.Errorf("read the file's header: %w", err)
		}
	}
	switch goos {
	case "linux":
		return checkELF(header, arch)
	case "darwin":
		return checkMachO(header, arch)
	}
	return invalid("executors for %s cannot be registered: there are linux and darwin", goos)
}

func checkELF(header []byte, arch string) error {
	want, ok := machines[arch]
	if !ok {
		return invalid("architecture %s of linux is not known", arch)
	}
	if string(header[:4]) != elf.ELFMAG {
		return invalid("the file is no ELF program, as those of linux are")
	}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(header[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	got := machine{elf.Class(header[elf.EI_CLASS]), elf.Data(header[elf.EI_DATA]), elf.Machine(order.Uint16(header[18:]))}
	if got != want {
		return invalid("the file describes itself as one for linux-%s (%v), but its ELF header says %v, %v, %v", arch, want.id, got.id, got.class, got.order)
	}
	return nil
}

func checkMachO(header []byte, arch string) error {
	want, ok := cpus[arch]
	if !ok {
		return invalid("architecture %s of darwin is not known", arch)
	}
	if binary.LittleEndian.Uint32(header) != macho.Magic64 {
		return invalid("the file is no 64-bit Mach-O program, as those of darwin are")
	}
	if got := macho.Cpu(binary.LittleEndian.Uint32(header[4:])); got != want {
		return invalid("the file describes itself as one for darwin-%s, but its Mach-O header says %v", arch, got)
	}
	return nil
}
