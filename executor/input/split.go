package input

// Segment is a range of a file: the whole of it, or the lines that begin in it.
type Segment struct {
	File   int   `json:"file"`
	Offset int64 `json:"offset,omitempty"`
	Length int64 `json:"length"`
}

// Split is what one task reads, in order.
type Split []Segment

// Bytes is how much of the input a split is, as stored.
func (s Split) Bytes() (total int64) {
	for _, segment := range s {
		total += segment.Length
	}
	return total
}

// SmallestSplit is the least that is worth a task, in bytes.
const SmallestSplit = 1 << 20

// Cut divides files into splits of about target bytes, each of consecutive files or, where lines says that every line
// break ends a row, of ranges of plain files. There is at least one split.
func Cut(files []File, target int64, lines bool) []Split {
	target = max(target, 1)
	var splits []Split
	var current Split
	var room = target
	finish := func() {
		if len(current) > 0 {
			splits = append(splits, current)
		}
		current, room = nil, target
	}
	for i, file := range files {
		rest := Segment{File: i, Length: file.Size}
		for lines && file.Compression == Plain && rest.Length > room+target/8 && room > 0 {
			current = append(current, Segment{File: i, Offset: rest.Offset, Length: room})
			rest.Offset += room
			rest.Length -= room
			finish()
		}
		// A file that fits badly goes where it is less wrong: too much here, or too little here.
		if len(current) > 0 && rest.Length > room && rest.Length-room > room {
			finish()
		}
		current = append(current, rest)
		if room -= rest.Length; room <= 0 {
			finish()
		}
	}
	finish()
	if len(splits) == 0 {
		splits = []Split{nil}
	}
	return splits
}

// Target is how large splits should be for so many tasks at a time, between smallest and largest bytes.
func Target(total int64, tasks int, smallest, largest int64) int64 {
	share := (total + int64(tasks) - 1) / int64(max(tasks, 1))
	return min(max(share, smallest), largest)
}
