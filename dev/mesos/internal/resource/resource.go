package resource

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/resources"
)

// Names of the resources that the house deals with.
const (
	CPUs = "cpus"
	Mem  = "mem" // MB
	Disk = "disk"
)

// Parse reads "cpus:4;mem:4096;disk:10240;ports:[31000-31099]": numbers are
// scalars, brackets are ranges, braces are sets. The order is kept.
func Parse(text string) (v1.Resources, error) {
	var parsed v1.Resources
	for entry := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		name, value, found := strings.Cut(entry, ":")
		name = strings.TrimSpace(name)
		if !found || name == "" {
			return nil, fmt.Errorf("parse resource %q: want name:value", entry)
		}
		r, err := parseValue(name, strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("parse resource %q: %w", entry, err)
		}
		if err := r.Validate(); err != nil {
			return nil, fmt.Errorf("parse resource %q: %w", entry, err)
		}
		if slices.ContainsFunc(parsed, func(other v1.Resource) bool { return other.Name == name }) {
			return nil, fmt.Errorf("parse resource %q: named twice", entry)
		}
		parsed = append(parsed, r)
	}
	return parsed, nil
}

func parseValue(name, value string) (v1.Resource, error) {
	switch {
	case strings.HasPrefix(value, "[") && strings.HasSuffix(value, "]"):
		var spans []v1.Value_Range
		for span := range strings.SplitSeq(value[1:len(value)-1], ",") {
			first, last, found := strings.Cut(strings.TrimSpace(span), "-")
			if !found {
				last = first
			}
			begin, err := strconv.ParseUint(strings.TrimSpace(first), 10, 64)
			if err != nil {
				return v1.Resource{}, err
			}
			end, err := strconv.ParseUint(strings.TrimSpace(last), 10, 64)
			if err != nil {
				return v1.Resource{}, err
			}
			if end < begin {
				return v1.Resource{}, fmt.Errorf("range %q ends before it begins", span)
			}
			spans = append(spans, v1.Value_Range{Begin: begin, End: end})
		}
		return v1.Resource{Name: name, Type: v1.RANGES.Enum(), Ranges: &v1.Value_Ranges{Range: spans}}, nil
	case strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}"):
		var items []string
		for item := range strings.SplitSeq(value[1:len(value)-1], ",") {
			items = append(items, strings.TrimSpace(item))
		}
		return v1.Resource{Name: name, Type: v1.SET.Enum(), Set: &v1.Value_Set{Item: items}}, nil
	}
	number, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return v1.Resource{}, err
	}
	if !(number >= 0 && number < 1e12) {
		return v1.Resource{}, fmt.Errorf("number %v is out of range", number)
	}
	return Scalar(name, number), nil
}

// ParseAttributes reads "zone:a;rack:r1"; a number makes a scalar attribute, all
// else is text.
func ParseAttributes(text string) ([]v1.Attribute, error) {
	var parsed []v1.Attribute
	for entry := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		name, value, found := strings.Cut(entry, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !found || name == "" || value == "" {
			return nil, fmt.Errorf("parse attribute %q: want name:value", entry)
		}
		attribute := v1.Attribute{Name: name, Type: v1.TEXT, Text: &v1.Value_Text{Value: value}}
		if number, err := strconv.ParseFloat(value, 64); err == nil && number-number == 0 {
			attribute = v1.Attribute{Name: name, Type: v1.SCALAR, Scalar: &v1.Value_Scalar{Value: number}}
		}
		parsed = append(parsed, attribute)
	}
	return parsed, nil
}

// Scalar makes a scalar resource.
func Scalar(name string, value float64) v1.Resource {
	return v1.Resource{Name: name, Type: v1.SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: value}}
}

// Amount is the sum of the scalar resources of that name.
func Amount(rs []v1.Resource, name string) float64 {
	sum := 0.0
	for i := range rs {
		if rs[i].Name == name {
			sum += rs[i].GetScalar().GetValue()
		}
	}
	return sum
}

// Sum adds lists of resources up into a new one.
func Sum(lists ...[]v1.Resource) v1.Resources {
	var sum v1.Resources
	for _, list := range lists {
		for i := range list {
			sum.Add(squashed(list[i]))
		}
	}
	return sum
}

// squashed gives a resource whose ranges are sorted and do not overlap: mesos-go's
// algebra is wrong for others, which nothing keeps a scheduler from sending.
func squashed(r v1.Resource) v1.Resource {
	if r.Ranges == nil {
		return r
	}
	spans := append(v1.Ranges{}, r.Ranges.Range...)
	r.Ranges = &v1.Value_Ranges{Range: spans.Sort().Squash()}
	return r
}

// Contains says whether all of those resources, added up, fit into these.
func Contains(these, those []v1.Resource) bool {
	return resources.ContainsAll(these, Sum(those))
}

// Plain gives a copy in the one form that the algebra compares: ranges squashed, and
// without the role "*" that older schedulers write and current ones leave out.
func Plain(rs []v1.Resource) v1.Resources {
	copied := v1.Resources(rs).Clone()
	for i := range copied {
		copied[i] = squashed(copied[i])
		if copied[i].GetRole() == "*" {
			copied[i].Role = nil
		}
	}
	return copied
}

// InOfferOrder sorts as Mesos' offers do: ports, what is reserved, what is not; each in
// the order of cpus, mem, disk, volumes, and then the others by name.
func InOfferOrder(rs v1.Resources) v1.Resources {
	known := []string{"ports", CPUs, Mem, Disk}
	rank := func(r *v1.Resource) int {
		at := slices.Index(known, r.Name)
		switch {
		case at < 0:
			at = 2 * len(known)
		case r.IsPersistentVolume():
			at = 2*at + 1
		default:
			at *= 2
		}
		if at > 0 && r.IsUnreserved() {
			at += 100
		}
		return at
	}
	slices.SortStableFunc(rs, func(a, b v1.Resource) int {
		return cmp.Or(rank(&a)-rank(&b), strings.Compare(a.Name, b.Name))
	})
	return rs
}

// Format writes resources as Mesos does in its messages:
// "cpus(allocated: data):400; ports(allocated: data):[31000-31099]".
func Format(rs []v1.Resource) string {
	if len(rs) == 0 {
		return "{}"
	}
	var parts []string
	for i := range rs {
		r := &rs[i]
		text := r.Name
		if role := r.GetAllocationInfo().GetRole(); role != "" {
			text += "(allocated: " + role + ")"
		}
		if len(r.Reservations) > 0 {
			var chain []string
			for j := range r.Reservations {
				reserved := &r.Reservations[j]
				chain = append(chain, "("+strings.Join([]string{reserved.GetType().String(), reserved.GetRole(), reserved.GetPrincipal()}, ",")+")")
			}
			text += "(reservations: [" + strings.Join(chain, ",") + "])"
		}
		if r.IsPersistentVolume() {
			text += "[" + r.Disk.Persistence.ID + ":" + r.Disk.GetVolume().GetContainerPath() + "]"
		}
		parts = append(parts, text+":"+FormatValue(r))
	}
	return strings.Join(parts, "; ")
}

// FormatValue writes one resource's value: "4", "[31000-31099]" or "{a, b}".
func FormatValue(r *v1.Resource) string {
	switch r.GetType() {
	case v1.RANGES:
		var spans []string
		for _, span := range r.GetRanges().GetRange() {
			spans = append(spans, fmt.Sprintf("%d-%d", span.Begin, span.End))
		}
		return "[" + strings.Join(spans, ", ") + "]"
	case v1.SET:
		return "{" + strings.Join(r.GetSet().GetItem(), ", ") + "}"
	default:
		return strconv.FormatFloat(r.GetScalar().GetValue(), 'f', -1, 64)
	}
}
