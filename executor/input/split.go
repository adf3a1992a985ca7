package input

// Segment is a range of a file: the whole of it, or the lines that begin in it, or some row groups of Parquet.
type Segment struct {
	File   int   `json:"file"`
	Offset int64 `json:"offset,omitempty"`
	Length int64 `json:"length"` // bytes; of row groups, those of the columns that are needed
	// Group and Groups are the first row group and how many there are; 0 groups are the whole file.
	Group  int `json:"group,omitempty"`
	Groups int `json:"groups,omitempty"`
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

// CutGroups divides row groups, one or more to a segment, into splits of about target bytes. Neighbours become one segment.
// There is at least one split.
func CutGroups(segments []Segment, target int64) []Split {
	splits := []Split{nil}
	var size int64
	for _, s := range segments {
		last := len(splits) - 1
		if size > 0 && size+s.Length/2 > target {
			splits = append(splits, Split{s})
			size = s.Length
			continue
		}
		size += s.Length
		if n := len(splits[last]); n > 0 && s.follows(splits[last][n-1]) {
			splits[last][n-1].Groups += s.Groups
			splits[last][n-1].Length += s.Length
		} else {
			splits[last] = append(splits[last], s)
		}
	}
	return splits
}

// follows says that a segment begins where another ends.
func (s Segment) follows(before Segment) bool {
	return s.File == before.File && s.Groups > 0 && before.Groups > 0 && s.Group == before.Group+before.Groups
}

// Target is how large splits should be for so many tasks at a time, between smallest and largest bytes.
func Target(total int64, tasks int, smallest, largest int64) int64 {
	share := (total + int64(tasks) - 1) / int64(max(tasks, 1))
	return min(max(share, smallest), largest)
}
