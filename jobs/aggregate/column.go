package aggregate

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidemill/tidemill/jobs"
)

// Column declares a type. Types are the engine's: BOOLEAN, BIGINT, DOUBLE, DECIMAL(p,s), VARCHAR, DATE, TIMESTAMP, …
type Column struct {
	Name string
	Type string // in capitals; decimals as DECIMAL(p,s)
}

// Columns are declared types, in the order of the spec, where they are an object: {"dep_delay": "BIGINT"}.
type Columns []Column

// types that a column may be declared as. The first stands for all decimals.
var types = []string{
	"DECIMAL(18,2)", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
	"FLOAT", "DOUBLE", "VARCHAR", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ",
}

var decimalType = regexp.MustCompile(`^DECIMAL\( *([0-9]{1,2}) *, *([0-9]{1,2}) *\)$`)

const maxColumns = 1000

// DecodeSpec reads the object.
func (c *Columns) DecodeSpec(d *jobs.Decoder) {
	names, ok := d.Fields()
	if !ok {
		return
	}
	if len(names) > maxColumns {
		d.Problem("want at most %d columns, got %d", maxColumns, len(names))
		return
	}
	seen := map[string]string{}
	for _, name := range names {
		at := d.At(name)
		checkColumnName(at, name)
		if other, repeated := seen[strings.ToLower(name)]; repeated {
			at.Problem("the column is declared twice: %q and %q differ only in capitals", other, name)
		}
		seen[strings.ToLower(name)] = name
		text, ok := at.String()
		if !ok {
			continue
		}
		if normal, ok := normalType(at, text); ok {
			*c = append(*c, Column{Name: name, Type: normal})
		}
	}
}

// normalType is a type as [Column] has it.
func normalType(d *jobs.Decoder, text string) (normal string, ok bool) {
	name := strings.ToUpper(strings.TrimSpace(text))
	if parts := decimalType.FindStringSubmatch(name); parts != nil {
		precision, errP := strconv.Atoi(parts[1])
		scale, errS := strconv.Atoi(parts[2])
		if errP != nil || errS != nil || precision < 1 || precision > 38 || scale > precision {
			d.Problem("want DECIMAL(p,s) with p from 1 to 38 and s at most p")
			return "", false
		}
		return fmt.Sprintf("DECIMAL(%d,%d)", precision, scale), true
	}
	if !slices.Contains(types[1:], name) {
		d.Unknown("type", text, types)
		return "", false
	}
	return name, true
}

// Schema describes the object.
func (Columns) Schema() map[string]any {
	return map[string]any{
		"type":          "object",
		"maxProperties": maxColumns,
		"propertyNames": columnNameSchema(),
		"additionalProperties": map[string]any{
			"type":        "string",
			"description": "One of " + strings.Join(types, ", ") + ".",
		},
		"examples": []any{map[string]any{"dep_delay": "BIGINT", "price": "DECIMAL(18,2)"}},
	}
}

// Choices are the types in small letters, decimals without precision and scale.
func (Columns) Choices() []string {
	all := make([]string, 0, len(types))
	for _, name := range types {
		all = append(all, Column{Type: name}.choice())
	}
	return all
}

// Chosen are the types of the columns.
func (c Columns) Chosen(use func(choice string, path ...string)) {
	for _, column := range c {
		use(column.choice(), column.Name)
	}
}

func (c Column) choice() string {
	name, _, _ := strings.Cut(c.Type, "(")
	return strings.ToLower(name)
}

// MarshalJSON writes the object in the order of the columns.
func (c Columns) MarshalJSON() ([]byte, error) {
	return marshalObject(len(c), func(i int) (string, any) { return c[i].Name, c[i].Type })
}

const maxColumnName = 128 // bytes

// checkColumnName reports a name that a result or input column cannot have.
func checkColumnName(d *jobs.Decoder, name string) {
	switch {
	case strings.TrimSpace(name) == "":
		d.Problem("the name of a column is empty")
	case len(name) > maxColumnName:
		d.Problem("the name of a column has %d bytes; at most %d are allowed", len(name), maxColumnName)
	case strings.TrimSpace(name) != name:
		d.Problem("the name of column %q begins or ends with a space", name)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }):
		d.Problem("the name of column %q has a character that cannot be printed", name)
	}
}

func columnNameSchema() map[string]any {
	return map[string]any{"type": "string", "minLength": 1, "maxLength": maxColumnName, "pattern": `^\S(.*\S)?$`}
}
