package sql

import (
	"io/fs"
	"syscall"
)

// onDisk is how much room a file takes, in bytes: sparse ones less than they are long.
func onDisk(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		const block = 512 // bytes, on every system
		return min(stat.Blocks*block, info.Size())
	}
	return info.Size()
}
