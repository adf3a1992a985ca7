package jobs

import (
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
)

// Schema is the JSON Schema (draft 2020-12, as OpenAPI 3.1 has it) of a spec, made of the same tags that [Decode] goes
// by. It accepts every spec that Decode accepts. Decode refuses more: bounds of sizes and durations written as text, and
// whatever concerns several fields of a kind's section.
func Schema(kinds Kinds) map[string]any {
	schema := structSchema(reflect.TypeFor[Spec]())
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "Job"
	properties := schema["properties"].(map[string]any)
	properties["kind"].(map[string]any)["enum"] = anySlice(kinds.names())
	properties["executor"].(map[string]any)["not"] = map[string]any{"required": []any{"channel", "version"}}
	var rules []any
	for _, kind := range kinds {
		properties[kind.Name()] = sectionSchema(kind)
		others := map[string]any{}
		for _, other := range kinds {
			if other.Name() != kind.Name() {
				others[other.Name()] = false
			}
		}
		rules = append(rules, map[string]any{
			"if":   map[string]any{"properties": map[string]any{"kind": map[string]any{"const": kind.Name()}}, "required": []any{"kind"}},
			"then": map[string]any{"required": []any{kind.Name()}, "properties": others},
		})
	}
	if rules != nil {
		schema["allOf"] = rules
	}
	return schema
}

func sectionSchema(kind Kind) map[string]any {
	schema := valueSchema(sectionType(kind), &field{})
	schema["description"] = fmt.Sprintf("What a job of kind %s does.", kind.Name())
	return schema
}

func structSchema(t reflect.Type) map[string]any {
	properties := map[string]any{}
	var required, rules []any
	for _, f := range fields(t) {
		properties[f.name] = fieldSchema(&f)
		switch {
		case f.only != nil:
			rules = append(rules, f.onlySchema())
		case f.required:
			required = append(required, f.name)
		}
	}
	schema := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if required != nil {
		schema["required"] = required
	}
	if rules != nil {
		schema["allOf"] = rules
	}
	return schema
}

// onlySchema says when the field may, and perhaps must, be there.
func (f *field) onlySchema() map[string]any {
	rule := map[string]any{
		"if": map[string]any{
			"properties": map[string]any{f.only.field: map[string]any{"enum": anySlice(f.only.values)}},
			"required":   []any{f.only.field},
		},
		"else": map[string]any{"properties": map[string]any{f.name: false}},
	}
	if f.required {
		rule["then"] = map[string]any{"required": []any{f.name}}
	}
	return rule
}

// fieldSchema is the schema of a field's value with what its tags say for people.
func fieldSchema(f *field) map[string]any {
	schema := valueSchema(f.typ, f)
	description := f.doc
	if f.format == "duration" {
		description += " " + f.boundsText()
	}
	if f.only != nil {
		description += fmt.Sprintf(" Only for %s %s.", f.only.field, orList(f.only.values))
	}
	if description = strings.TrimSpace(description); description != "" {
		schema["description"] = description
	}
	if f.fallback != nil {
		schema["default"] = f.literal(*f.fallback)
	}
	if f.example != "" {
		schema["examples"] = []any{f.literal(f.example)}
	}
	return schema
}

func valueSchema(t reflect.Type, f *field) map[string]any {
	if shape, ok := reflect.New(t).Interface().(Shape); ok {
		return maps.Clone(shape.Schema())
	}
	switch {
	case f.format == "size":
		return sizeSchema(f)
	case f.format == "duration":
		return map[string]any{"type": "string", "pattern": durationPattern}
	case t.Kind() == reflect.Struct:
		return structSchema(t)
	case t.Kind() == reflect.Slice:
		return sliceSchema(f)
	case t.Kind() == reflect.String:
		return textSchema(f)
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case t.Kind() == reflect.Float64:
		return f.withBounds(map[string]any{"type": "number"})
	default:
		return f.withBounds(map[string]any{"type": "integer"})
	}
}

func sizeSchema(f *field) map[string]any {
	return map[string]any{"anyOf": []any{
		map[string]any{"type": "string", "pattern": sizePattern, "description": strings.TrimSpace("A size with a unit. " + f.boundsText())},
		f.withBounds(map[string]any{"type": "integer", "description": "A number of bytes."}),
	}}
}

func sliceSchema(f *field) map[string]any {
	schema := map[string]any{"type": "array", "items": valueSchema(f.typ.Elem(), f.element())}
	if f.minItems > 0 {
		schema["minItems"] = f.minItems
	}
	if f.maxItems > 0 {
		schema["maxItems"] = f.maxItems
	}
	return schema
}

func textSchema(f *field) map[string]any {
	schema := map[string]any{"type": "string"}
	if f.enum != nil {
		schema["enum"] = anySlice(f.enum)
	}
	if f.format != "" {
		schema["pattern"] = formats[f.format].pattern
	}
	if f.minLen > 0 {
		schema["minLength"] = f.minLen
	}
	if f.maxLen > 0 {
		schema["maxLength"] = f.maxLen
	}
	return schema
}

func (f *field) withBounds(schema map[string]any) map[string]any {
	if f.min != "" {
		schema["minimum"] = f.bound(f.min)
	}
	if f.max != "" {
		schema["maximum"] = f.bound(f.max)
	}
	return schema
}

// boundsText is what the pattern of a size or duration cannot say.
func (f *field) boundsText() string {
	switch {
	case f.min != "" && f.max != "":
		return fmt.Sprintf("At least %s, at most %s.", f.min, f.max)
	case f.min != "":
		return fmt.Sprintf("At least %s.", f.min)
	case f.max != "":
		return fmt.Sprintf("At most %s.", f.max)
	}
	return ""
}

// literal is a tag's text as a value of the field's type in JSON.
func (f *field) literal(text string) any {
	switch {
	case f.typ.Kind() == reflect.Slice:
		return []any{f.element().literal(text)}
	case f.typ.Kind() == reflect.Bool:
		return text == "true"
	case f.typ.Kind() == reflect.String || f.format != "":
		return text
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic("default or example of field " + f.name + ": " + err.Error())
	}
	return x
}

func anySlice(names []string) []any {
	all := make([]any, 0, len(names))
	for _, name := range names {
		all = append(all, name)
	}
	return all
}
