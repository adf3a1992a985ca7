package mesos

import (
	"net"
	"strconv"
	"strings"
	"time"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/scheduler"
)

func offers(in []mesosgo.Offer) scheduler.Offers {
	out := scheduler.Offers{Offers: make([]scheduler.Offer, len(in))}
	for i := range in {
		out.Offers[i] = offer(&in[i])
	}
	return out
}

func offer(in *mesosgo.Offer) scheduler.Offer {
	out := scheduler.Offer{
		ID:         in.ID.Value,
		AgentID:    in.AgentID.Value,
		Host:       in.Hostname,
		AgentURL:   agentURL(in.URL),
		Role:       in.AllocationInfo.GetRole(),
		CPUs:       sum(in.Resources, "cpus"),
		Memory:     int64(sum(in.Resources, "mem") * mebibyte),
		Disk:       int64(sum(in.Resources, "disk") * mebibyte),
		Attributes: map[string]string{"hostname": in.Hostname},
	}
	for i := range in.Attributes {
		out.Attributes[in.Attributes[i].Name] = attribute(&in.Attributes[i])
	}
	for _, id := range in.ExecutorIDs {
		out.Executors = append(out.Executors, id.Value)
	}
	if in.Unavailability != nil {
		start, duration := window(in.Unavailability)
		out.Unavailable, out.UnavailableFor = &start, duration
	}
	return out
}

// window is when an agent is to be away, and for how long: 0 is for ever. A length that makes no sense is for ever, too.
func window(u *mesosgo.Unavailability) (start time.Time, duration time.Duration) {
	return time.Unix(0, u.Start.Nanoseconds).UTC(), max(0, time.Duration(u.Duration.GetNanoseconds()))
}

func inverseOffers(in []mesosgo.InverseOffer) scheduler.InverseOffers {
	out := scheduler.InverseOffers{Offers: make([]scheduler.InverseOffer, len(in))}
	for i := range in {
		one := &out.Offers[i]
		one.ID, one.AgentID = in[i].OfferID.Value, value(in[i].AgentID)
		one.Start, one.Duration = window(&in[i].Unavailability)
	}
	return out
}

// agentURL prefers the address over the name: it needs no resolver. Certificates are made out to names.
func agentURL(u *mesosgo.URL) string {
	if u == nil || u.Address.Port == 0 {
		return ""
	}
	host := u.Address.GetIP()
	if name := u.Address.GetHostname(); host == "" || (u.Scheme == "https" && name != "") {
		host = name
	}
	if host == "" {
		return ""
	}
	return u.Scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(u.Address.Port)))
}

// attribute writes a value as Mesos does: 2.5, [1-5, 7-9], {a, b}, or the text itself.
func attribute(a *mesosgo.Attribute) string {
	switch {
	case a.Text != nil:
		return a.Text.Value
	case a.Scalar != nil:
		return strconv.FormatFloat(a.Scalar.Value, 'f', -1, 64)
	case a.Ranges != nil:
		parts := make([]string, len(a.Ranges.Range))
		for i, r := range a.Ranges.Range {
			parts[i] = strconv.FormatUint(r.Begin, 10) + "-" + strconv.FormatUint(r.End, 10)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case a.Set != nil:
		return "{" + strings.Join(a.Set.Item, ", ") + "}"
	}
	return ""
}
