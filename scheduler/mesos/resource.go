package mesos

import (
	"math"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/jobs"
)

const mebibyte = 1 << 20

// resources writes r for a role. Mesos counts in steps of a thousandth, of MiB for memory and disk: what lies between
// is rounded down, so that the whole never exceeds what was counted in bytes.
func resources(r jobs.Resources, role string) []mesosgo.Resource {
	var out []mesosgo.Resource
	for _, part := range []struct {
		name  string
		value float64
	}{{"cpus", r.CPUs}, {"mem", float64(r.Memory) / mebibyte}, {"disk", float64(r.Disk) / mebibyte}} {
		if part.value = thousandths(part.value); part.value <= 0 {
			continue
		}
		scalar := mesosgo.SCALAR
		out = append(out, mesosgo.Resource{
			Name:           part.name,
			Type:           &scalar,
			Scalar:         &mesosgo.Value_Scalar{Value: part.value},
			AllocationInfo: &mesosgo.Resource_AllocationInfo{Role: &role},
		})
	}
	return out
}

// thousandths rounds down, forgiving what binary fractions lose (0.29*1000 is a little less than 290).
func thousandths(v float64) float64 { return math.Floor(v*1000+1e-6) / 1000 }

// usable says whether r is plain: not reserved, not revocable, not shared, not a disk of its own, not a provider's.
func usable(r *mesosgo.Resource) bool {
	role := r.GetRole() // "*" unless set
	return r.Scalar != nil && r.ProviderID == nil && (role == "" || role == "*") && r.Reservation == nil &&
		len(r.Reservations) == 0 && r.Disk == nil && r.Revocable == nil && r.Shared == nil
}

// sum adds up the usable resources of that name, in Mesos' own unit. Nonsense (negative, NaN, huge) counts as nothing.
func sum(all []mesosgo.Resource, name string) float64 {
	var total float64
	for i := range all {
		if all[i].Name != name || !usable(&all[i]) {
			continue
		}
		if v := all[i].Scalar.Value; v > 0 && v < 1<<40 {
			total += v
		}
	}
	return total
}
