package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// executorFields are the fields of a spec, beside the kind's section, that executors are sent. Everything else is the
// scheduler's affair. Executors of all versions know these and refuse fields that they do not know: what is added here is
// a new protocol version.
var executorFields = []string{"name", "kind", "parallelism"}

// ForExecutor is the part of a spec that is sent to executors: a JSON object with the section of that kind and the few
// common fields that they need, each as it was written. So a spec may have common fields that an older executor has never
// heard of. An error says that data is no spec that [Decode] took.
func ForExecutor(data []byte, kind string) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	var out bytes.Buffer
	for _, name := range append(executorFields[:len(executorFields):len(executorFields)], kind) {
		value, ok := all[name]
		if !ok {
			continue
		}
		separator := ","
		if out.Len() == 0 {
			separator = "{"
		}
		fmt.Fprintf(&out, "%s%q:%s", separator, name, value)
	}
	if out.Len() == 0 {
		return nil, fmt.Errorf("read spec: it has none of the fields that executors need")
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}
