package input

import (
	"net/url"
	"slices"
	"strings"
)

// missingValue is how Hive writes a missing value in the name of a folder.
const missingValue = "__HIVE_DEFAULT_PARTITION__"

// findPartitions takes columns from the names of folders such as month=7/ between folder and the files.
func (s *Set) findPartitions(folder string) {
	known := map[string]int{} // folders by path
	var paths []string
	last, index := "", -1
	for i := range s.Files {
		path := strings.TrimPrefix(s.Files[i].Key, folder)
		path = path[:strings.LastIndexByte(path, '/')+1]
		if path != last || index < 0 {
			var ok bool
			if index, ok = known[path]; !ok {
				index = len(paths)
				known[path] = index
				paths = append(paths, path)
			}
			last = path
		}
		s.Files[i].Folder = index
	}
	values := make([]map[string]*string, len(paths))
	for i, path := range paths {
		values[i] = s.partition(path)
	}
	s.Folders = make([][]*string, len(paths))
	for i := range s.Folders {
		s.Folders[i] = make([]*string, len(s.Partitions))
		for c, name := range s.Partitions {
			s.Folders[i][c] = values[i][name]
		}
	}
	if len(s.Partitions) == 0 {
		s.Folders = nil
		for i := range s.Files {
			s.Files[i].Folder = 0
		}
	}
}

// partition reads the values in a path, by the names that Partitions has, and adds names that it lacks.
func (s *Set) partition(path string) map[string]*string {
	values := map[string]*string{}
	for element := range strings.SplitSeq(path, "/") {
		name, value, ok := strings.Cut(element, "=")
		if name = unescape(name); !ok || strings.TrimSpace(name) == "" {
			continue
		}
		i := slices.IndexFunc(s.Partitions, func(known string) bool { return strings.EqualFold(known, name) })
		if i < 0 {
			i = len(s.Partitions)
			s.Partitions = append(s.Partitions, name)
		}
		values[s.Partitions[i]] = nil
		if value != missingValue {
			text := unescape(value)
			values[s.Partitions[i]] = &text
		}
	}
	return values
}

// unescape decodes %2F and the like; what is not an escape stays as it is.
func unescape(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return strings.ToValidUTF8(plain, "\uFFFD")
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// Constants are the values of the partition columns in a file.
func (s *Set) Constants(file int) []*string {
	if len(s.Partitions) == 0 {
		return nil
	}
	return s.Folders[s.Files[file].Folder]
}

// Without is the files that are not in one of some folders.
func (s *Set) Without(folders map[int]bool) *Set {
	rest := *s
	rest.Files = slices.DeleteFunc(slices.Clone(s.Files), func(f File) bool { return folders[f.Folder] })
	return &rest
}
