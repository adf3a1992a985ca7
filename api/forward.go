package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidemill/tidemill/api/wire"
)

// forwardedHeader says which instance has passed a request on. One that carries it is not passed on again.
const forwardedHeader = "Tidemill-Forwarded-By"

const (
	dialTimeout     = 3 * time.Second
	leaderTimeout   = 45 * time.Second // for the leader to answer, once it has the whole request
	continueTimeout = 10 * time.Second // for the leader to ask for an upload's body; then it is sent unasked
	askTimeout      = 2 * time.Second  // for what the leader alone knows, beside what is known here
	deposedEvery    = 100 * time.Millisecond
)

// explainRoute is answered from the leader's memory: why tasks wait is not stored.
const explainRoute = "GET /v1/runs/{id}/explain"

// newLeaderTransport makes a connection for each request: they are few, and a kept one might be to a leader that has
// died since, so that nobody knew whether a request on it arrived.
func newLeaderTransport(authorities *x509.CertPool) *http.Transport {
	return &http.Transport{
		TLSClientConfig:       &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12},
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: leaderTimeout,
		ExpectContinueTimeout: continueTimeout,
		DisableKeepAlives:     true,
		DisableCompression:    true, // bodies are passed on as they are
	}
}

// reads says whether a request changes nothing.
func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// standby answers a request of the API on an instance that does not lead: it passes writes on and makes sure that reads
// are answered from a fresh view. done is false if the request is to be answered here.
func (h *Handler) standby(w http.ResponseWriter, r *http.Request, route string) (done bool) {
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		return false // probes, pages, metrics, artefacts
	}
	now := h.cfg.Peers.Standing()
	if now.Leads {
		return false
	}
	if !reads(r) || route == explainRoute && now.Leader != "" && r.Header.Get(forwardedHeader) == "" {
		h.forward(w, r, now, route)
		return true
	}
	if err := h.readable(w, r); err != nil {
		writeProblem(w, err)
		return true
	}
	return false
}

func unavailable(detail string) error {
	return huma.ErrorWithHeaders(problem(http.StatusServiceUnavailable, detail), retryAfter)
}

// forward passes a request on to the leader. The caller's token goes with it: the leader decides.
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, now Standing, route string) {
	refuse := func(err error) {
		drain(r.Body)
		h.forwarded(0)
		writeProblem(w, err)
	}
	leader, err := url.Parse(now.Leader)
	by := r.Header.Get(forwardedHeader)
	switch {
	case by != "":
		refuse(unavailable(fmt.Sprintf("this instance does not lead; %s took it for the leader. Try again", by)))
		return
	case now.Leader == "":
		refuse(unavailable("no instance leads at present. Try again"))
		return
	case now.Leader == now.Self:
		refuse(unavailable("this instance does not lead yet, or not any more, and knows of no other that does. Try again"))
		return
	case err != nil || leader.Host == "":
		refuse(unavailable(fmt.Sprintf("the instance that leads gives %q as its address, which is none", now.Leader)))
		return
	}
	within := leaderTimeout + bodyTimeout
	if route == uploadRoute {
		within = fileTimeout
		r.Body = &uploadBody{body: r.Body, control: http.NewResponseController(w)}
	}
	ctx, cancel := context.WithTimeout(r.Context(), within)
	defer cancel()
	if err := deadlines(w, bodyTimeout, within+answerTimeout); err != nil {
		h.cfg.Logger.WarnContext(ctx, "set deadlines", "error", err)
	}
	for _, name := range []string{requestHeader, "X-Content-Type-Options", "Cache-Control"} {
		w.Header().Del(name) // the leader's answer has its own
	}
	go h.whileLeading(ctx, cancel, now.Leader)
	h.proxy(leader, now.Self, route, r.Body).ServeHTTP(w, r.WithContext(ctx))
}

// whileLeading gives a request up once another instance leads, or none, than the one that was asked: one whose machine
// hangs would never answer, and its successor could be asked instead. It blocks until then or until ctx ends.
func (h *Handler) whileLeading(ctx context.Context, giveUp func(), leader string) {
	ticker := time.NewTicker(deposedEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if h.cfg.Peers.Standing().Leader != leader {
			giveUp()
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// proxy passes a request on and waits, before it gives the answer, until this instance sees what the leader has stored:
// a client that asks here next sees what it did.
func (h *Handler) proxy(leader *url.URL, self, route string, body io.Reader) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport: h.leader,
		ErrorLog:  slog.NewLogLogger(h.cfg.Logger.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(leader)
			p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"] // SetXForwarded adds to it
			p.SetXForwarded()
			p.Out.Header.Set(forwardedHeader, self)
			p.Out.Header.Set(requestHeader, requestID(p.In.Context()))
			// What they protect from was refused here; the leader would compare them with its own name.
			p.Out.Header.Del("Origin")
			p.Out.Header.Del("Sec-Fetch-Site")
			if route == uploadRoute {
				p.Out.Header.Set("Expect", "100-continue") // the leader may refuse it without having seen it
			}
		},
		ModifyResponse: func(response *http.Response) error {
			h.forwarded(response.StatusCode)
			response.Header.Set(requestHeader, requestID(response.Request.Context()))
			if response.StatusCode >= http.StatusBadRequest {
				drain(body)
			}
			if reads(response.Request) || response.StatusCode >= http.StatusBadRequest {
				return nil
			}
			ctx, cancel := context.WithTimeout(response.Request.Context(), freshTimeout)
			defer cancel()
			if err := h.cfg.Peers.Refresh(ctx); err != nil {
				h.cfg.Logger.WarnContext(ctx, "read the store after a forwarded request", "error", err)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			h.forwarded(0)
			drain(body)
			w.Header().Set(requestHeader, requestID(r.Context()))
			writeProblem(w, h.unforwarded(r, leader, err))
		},
	}
}

// unforwarded says whether a request that got no answer can have been carried out.
func (h *Handler) unforwarded(r *http.Request, leader *url.URL, err error) error {
	h.cfg.Logger.WarnContext(r.Context(), "pass a request on to the leader", "leader", leader.String(), "method", r.Method, "path", r.URL.Path, "error", err)
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return unavailable(fmt.Sprintf("the instance that leads, %s, cannot be reached; nothing was changed. Try again", leader))
	}
	return problem(http.StatusBadGateway, fmt.Sprintf("the instance that leads, %s, gave no answer; the request may have been carried out", leader))
}

func (h *Handler) forwarded(status int) {
	if h.cfg.Forwarded != nil {
		h.cfg.Forwarded(status)
	}
}

// leaderInfo asks the leader what only it knows. ok is false when it does not answer soon: then what is known here has
// to do.
func (h *Handler) leaderInfo(ctx context.Context, now Standing, authorization string) (info wire.Info, ok bool) {
	if now.Leads || now.Leader == "" || now.Leader == now.Self {
		return info, false
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(now.Leader, "/")+"/v1/info", nil)
	if err != nil {
		return info, false
	}
	request.Header.Set(forwardedHeader, now.Self)
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := h.leader.RoundTrip(request)
	if err != nil {
		h.cfg.Logger.DebugContext(ctx, "ask the leader", "leader", now.Leader, "error", err)
		return info, false
	}
	err = json.NewDecoder(io.LimitReader(response.Body, maxDrain)).Decode(&info)
	err = errors.Join(err, response.Body.Close())
	return info, err == nil && response.StatusCode == http.StatusOK
}
