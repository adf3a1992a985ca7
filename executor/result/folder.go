package result

import (
	"fmt"
	"strings"
)

// missingPartition is the value in the name of the folder of rows for which the column is missing.
const missingPartition = "__HIVE_DEFAULT_PARTITION__"

// longestName is how long the name of a folder may be in file systems and in HDFS, in bytes.
const longestName = 255

// Folder is the name of the folder for one value of a partition column, as text; nil: it is missing. Different values
// have different folders, and whoever decodes percent signs reads the value back, an empty text included.
func Folder(column string, value *string) string {
	text := missingPartition
	switch {
	case value == nil:
	case *value == missingPartition:
		text = fmt.Sprintf("%%%02X%s", missingPartition[0], missingPartition[1:])
	default:
		text = escape(*value)
	}
	return escape(column) + "=" + text
}

// escape encodes what Hive encodes in names of folders: control characters and those that mean something in paths,
// patterns and queries.
func escape(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < 0x20 || c == 0x7f || strings.IndexByte(`"#%'*/:=?\{[]^`, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
