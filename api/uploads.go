package api

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

const (
	uploadPath  = "/v1/executors/{version}/{platform}"
	uploadRoute = "PUT " + uploadPath
)

const signatureHeader = "X-Signature-Ed25519"

type uploadInput struct {
	Version   string `path:"version" maxLength:"200" doc:"The executor version" example:"1.4.0"`
	Platform  string `path:"platform" maxLength:"200" doc:"Operating system and architecture" example:"linux-amd64"`
	Checksum  string `header:"X-Checksum-Sha256" doc:"SHA-256 of the body, in hex"`
	Signature string `header:"X-Signature-Ed25519" maxLength:"200" doc:"Ed25519 signature in base64, of the text \"tidemill executor\", a line feed, \"sha256:\" and the SHA-256 of the body in lower-case hex, a line feed. Needed when keys are configured, else not looked at"`

	request *http.Request
	writer  http.ResponseWriter
}

// Resolve keeps the request, whose body is read as it comes: huma would read all of it into memory. It finds nothing wrong.
func (in *uploadInput) Resolve(ctx huma.Context) []error {
	in.request, in.writer = humago.Unwrap(ctx)
	return nil
}

func (h *Handler) uploadRoute(described huma.API) {
	upload := operation("put-executor", http.MethodPut, uploadPath, "executors", "Register an executor version",
		http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity)
	upload.Description = "The body is the executor's file; version, platform and kinds are read out of it. 201 for a new one, 200 for the same bytes again, " +
		"409 for other bytes under that version and platform. A version never changes. What path and headers give away is refused before the body is read: " +
		"send Expect: 100-continue (curl does) to be spared sending it. An upload that breaks off leaves nothing. 503 with Retry-After while too many others are under way."
	upload.DefaultStatus = http.StatusCreated
	upload.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {}}}
	huma.Register(described, upload, h.upload)
}

// upload checks all that is known without the body first, from cheap to dear, and only then asks for it.
func (h *Handler) upload(ctx context.Context, in *uploadInput) (_ *executorOutput, err error) {
	defer func() {
		if err != nil {
			drain(in.request.Body)
		}
	}()
	os, arch, sum, err := in.names()
	if err != nil {
		return nil, err
	}
	if most := h.cfg.Artifacts.MaxSize(); in.request.ContentLength > most {
		return nil, problem(http.StatusRequestEntityTooLarge, fmt.Sprintf("the file is too large: it has %d bytes, at most %d are taken", in.request.ContentLength, most))
	}
	signature, signedBy, err := h.signed(in.Signature, sum)
	if err != nil {
		return nil, err
	}
	if err := h.sameBytes(in, os, arch, sum); err != nil {
		return nil, err
	}
	select {
	case h.uploads <- struct{}{}:
		defer func() { <-h.uploads }()
	default:
		return nil, unavailable(fmt.Sprintf("%d executors are being uploaded already. Try again", cap(h.uploads)))
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	release := h.cfg.Artifacts.Hold(sum)
	result, unused, err := h.register(ctx, in, os, arch, sum, func(a *proto.Artifact) {
		a.RegisteredBy, a.SignedBy, a.Signature = actor(ctx), signedBy, signature
	})
	release()
	if unused {
		h.collect(ctx, sum)
	}
	if err != nil {
		return nil, err
	}
	out := &executorOutput{Status: http.StatusOK, Body: h.presentVersion(result.Version)}
	if result.Created {
		out.Status = http.StatusCreated
		out.Location = "/v1/executors/" + url.PathEscape(in.Version)
	}
	return out, nil
}

// names checks what the path and the headers say.
func (in *uploadInput) names() (os, arch, sum string, err error) {
	if err := jobs.CheckVersion(in.Version); err != nil {
		return "", "", "", invalidParameter("version", err.Error())
	}
	os, arch, _ = strings.Cut(in.Platform, "-")
	if !isPlatformName(os) || !isPlatformName(arch) {
		return "", "", "", invalidParameter("platform", fmt.Sprintf("want <os>-<arch> such as linux-amd64, got %q", in.Platform))
	}
	if in.Checksum == "" {
		return "", "", "", problem(http.StatusBadRequest, "a parameter is missing",
			wire.Problem{Parameter: "X-Checksum-Sha256", Detail: "the header is missing: send the SHA-256 of the body in hex"})
	}
	sum = strings.ToLower(in.Checksum)
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 {
		return "", "", "", invalidParameter("X-Checksum-Sha256", "want 64 hex digits")
	}
	return os, arch, sum, nil
}

// isPlatformName says whether s can be Go's name of an operating system or architecture.
func isPlatformName(s string) bool {
	return s != "" && len(s) <= 16 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// signed verifies who vouches for a file. All is empty when no signatures are asked for.
func (h *Handler) signed(encoded, sum string) (signature []byte, by string, err error) {
	if h.cfg.Signatures == nil {
		return nil, "", nil
	}
	refuse := func(detail string) error {
		return problem(http.StatusForbidden, "executors must be signed here", wire.Problem{Parameter: signatureHeader, Detail: detail})
	}
	if encoded == "" {
		return nil, "", refuse("the header is missing: send the Ed25519 signature in base64")
	}
	if signature, err = base64.StdEncoding.DecodeString(encoded); err != nil {
		return nil, "", refuse("it is not base64")
	}
	if by, err = h.cfg.Signatures.Verify(sum, signature); err != nil {
		return nil, "", refuse(err.Error())
	}
	return signature, by, nil
}

// sameBytes refuses other bytes for a version that is known: they need not be sent for that.
func (h *Handler) sameBytes(in *uploadInput, os, arch, sum string) error {
	version := h.cfg.Scheduler.View().Versions[in.Version]
	if version == nil {
		return nil
	}
	for i := range version.Version.Artifacts {
		if a := &version.Version.Artifacts[i]; a.OS == os && a.Arch == arch && a.SHA256 != sum {
			return problem(http.StatusConflict, fmt.Sprintf("executor version %s for %s has other bytes (SHA-256 %s); a version never changes, register a new one", in.Version, in.Platform, a.SHA256))
		}
	}
	return nil
}

// register takes the body in and makes it a version's. unused says that no version has got the file for certain.
func (h *Handler) register(ctx context.Context, in *uploadInput, os, arch, sum string, complete func(*proto.Artifact)) (_ scheduler.RegisterVersionResult, unused bool, err error) {
	body := &uploadBody{body: in.request.Body, control: http.NewResponseController(in.writer), ends: after(uploadTimeout - answerTimeout)}
	limited := http.MaxBytesReader(in.writer, body, h.cfg.Artifacts.MaxSize())
	artifact, err := h.cfg.Artifacts.Put(ctx, in.Version, os, arch, sum, limited)
	if err != nil {
		return scheduler.RegisterVersionResult{}, false, h.refusal(ctx, err)
	}
	complete(&artifact)
	result, err := command[scheduler.RegisterVersionResult](ctx, h, scheduler.RegisterVersion{Artifact: artifact})
	// Without a clear refusal the version may still be registered, and needs its file.
	answer := (*wire.Error)(nil)
	return result, errors.As(err, &answer) && answer.Status < http.StatusInternalServerError, err
}

// collect removes a file that no version has any more. A failure costs only space.
func (h *Handler) collect(ctx context.Context, sum string) {
	needed := func() bool {
		for _, version := range h.cfg.Scheduler.View().Versions {
			for i := range version.Version.Artifacts {
				if version.Version.Artifacts[i].SHA256 == sum {
					return true
				}
			}
		}
		return false
	}
	if err := h.cfg.Artifacts.Delete(ctx, sum, needed); err != nil {
		h.cfg.Logger.WarnContext(ctx, "remove artefact", "sha256", sum, "error", err)
	}
}
