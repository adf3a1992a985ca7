package api_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/tidemill/tidemill/api/apitest"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

func TestDashboardFilesAreOpenAndStrict(t *testing.T) {
	s := serve(t)
	withTokenService := serve(t, withToken)
	for _, service := range []*service{s, withTokenService} {
		for path, contentType := range map[string]string{
			"/": "text/html", "/assets/main.js": "text/javascript", "/assets/dashboard.css": "text/css", "/assets/icon.svg": "image/svg+xml",
		} {
			a := service.get(path)
			if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), contentType) {
				t.Errorf("%s: got %d, %q", path, a.status, a.header.Get("Content-Type"))
			}
			if policy := a.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
				t.Errorf("%s: got policy %q", path, policy)
			}
		}
	}
	if a := s.get("/assets/none.js"); a.status != http.StatusNotFound {
		t.Errorf("a file that is not there: got %d", a.status)
	}
}

// browser opens pages in a real browser, if there is one.
func browser(t *testing.T, width, height int64, dark bool) context.Context {
	t.Helper()
	binary := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			binary = found
			break
		}
	}
	if binary == "" {
		t.Skip("no chromium here")
	}
	folder := profile(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(binary), chromedp.NoSandbox,
		chromedp.Flag("hide-scrollbars", true), chromedp.UserDataDir(folder), chromedp.Env("TMPDIR="+folder))
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	// It complains of events that are newer than itself; what fails is an error of Run, too.
	ctx, stop = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {}))
	t.Cleanup(stop)
	if err := chromedp.Run(ctx, chromedp.EmulateViewport(width, height), emulation.SetEmulatedMedia().WithFeatures(scheme(dark))); err != nil {
		t.Fatalf("start %s: %v", binary, err)
	}
	return ctx
}

// profile is a directory that is removed in the end, though helpers of the browser may write for a moment after it has ended.
func profile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tidemill-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			err := os.RemoveAll(dir)
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Error(err)
				return
			}
		}
	})
	return dir
}

func scheme(dark bool) []*emulation.MediaFeature {
	value := "light"
	if dark {
		value = "dark"
	}
	return []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}
}

// picture keeps what the browser shows, for people who ask for it.
func picture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("TIDEMILL_PICTURES")
	if dir == "" {
		return
	}
	var png []byte
	if err := chromedp.Run(ctx, chromedp.FullScreenshot(&png, 100)); err != nil {
		t.Fatalf("take picture: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// The page asks for the token, says when it is wrong, and keeps it out of addresses.
func TestDashboardAsksForTheToken(t *testing.T) {
	ctx := browser(t, 1000, 800, false)
	s := serve(t, withToken)
	s.scheduler.Example(time.Now())
	var address string
	var hidden bool
	err := chromedp.Run(ctx,
		chromedp.Navigate(s.server.URL+"/"),
		chromedp.WaitVisible("#token-value"), chromedp.SendKeys("#token-value", "wrong"), chromedp.Click("#token-form button"),
		chromedp.Poll(`document.getElementById("token-note").textContent.includes("wrong")`, nil, chromedp.WithPollingTimeout(20*time.Second)),
		chromedp.WaitVisible("#token-value"), chromedp.SendKeys("#token-value", "s3cret\r"),
		chromedp.Poll(`document.body.innerText.includes("mesos-3.example.net")`, nil, chromedp.WithPollingTimeout(20*time.Second)),
		chromedp.Location(&address),
		chromedp.Evaluate(`document.getElementById("links").hidden`, &hidden),
	)
	if err != nil {
		t.Fatal(err)
	}
	if !hidden {
		t.Error("the page links to what a browser cannot read without the token")
	}
	if strings.Contains(address, "s3cret") {
		t.Errorf("the token is in the address %s", address)
	}
}

var zoned = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC[+-]\d\d:\d\d$`)

func TestDashboardInBrowser(t *testing.T) {
	for _, screen := range []struct {
		name          string
		width, height int64
		dark          bool
	}{{"wide", 1400, 1000, false}, {"dark", 1400, 1000, true}, {"phone", 390, 844, false}} {
		t.Run(screen.name, func(t *testing.T) {
			ctx := browser(t, screen.width, screen.height, screen.dark)
			s := serve(t)
			runs := s.scheduler.Example(time.Now())
			s.scheduler.ExampleRollouts(time.Now(), runs)
			var text string
			var hostile bool
			fits := func() chromedp.Action {
				return chromedp.ActionFunc(func(ctx context.Context) error {
					var overflow bool
					if err := chromedp.Evaluate("document.documentElement.scrollWidth > innerWidth", &overflow).Do(ctx); err != nil {
						return err
					}
					if overflow {
						t.Error("the page is wider than the screen")
					}
					return nil
				})
			}
			shows := func(what string) chromedp.Action {
				return chromedp.Poll(fmt.Sprintf("document.body.innerText.includes(%q)", what), nil, chromedp.WithPollingTimeout(20*time.Second))
			}
			err := chromedp.Run(ctx, chromedp.Navigate(s.server.URL+"/"), shows("needs 64 cpus"), shows("mesos-3.example.net"), chromedp.Text("main", &text), fits())
			if err != nil {
				t.Fatalf("overview: %v", err)
			}
			picture(t, ctx, screen.name+"-overview")
			for _, want := range []string{runs["running"], "53 %", "/aggregate/where", "1.5.0-rc1", "canary", apitest.Hostile,
				"canary of stable", "50 % of stable", "7 of 20 runs on 1.5.0-rc1 have ended", "taken back", "60 %", "and 1 more", "signed by release", "by anna", "never", apitest.LongVersion} {
				if !strings.Contains(text, want) {
					t.Errorf("overview lacks %q", want)
				}
			}
			if err := chromedp.Run(ctx, chromedp.Navigate(s.server.URL+"/#/channels/stable"), shows("Rollout 2: 1.4.0"), chromedp.Text("main", &text), fits()); err != nil {
				t.Fatalf("channel: %v", err)
			}
			picture(t, ctx, screen.name+"-channel")
			for _, want := range []string{
				"running", "2 of 3", "1.5 × the old", "lunch " + apitest.Hostile, "all jobs", "0.8 %", "41 s", "812,345", "resumed", "anna", "itself", "2 (50 %)", "Rollouts before", "all steps passed", "rollout 1",
			} {
				if !strings.Contains(text, want) {
					t.Errorf("the channel lacks %q", want)
				}
			}
			large := s.scheduler.ExampleLarge(time.Now(), 2000)
			var bars, titles int
			err = chromedp.Run(ctx, chromedp.Navigate(s.server.URL+"/#/runs/"+large), shows("2006 attempts on 3 agents"), chromedp.Text("main", &text), fits(),
				chromedp.Evaluate(`document.querySelectorAll(".lane .attempt").length`, &bars),
				chromedp.Evaluate(`[...document.querySelectorAll(".lane .attempt.beside title")].filter((t) => t.textContent.includes("has shown no progress")).length`, &titles))
			if err != nil {
				t.Fatalf("large run: %v", err)
			}
			picture(t, ctx, screen.name+"-large")
			if bars < 100 || bars > 1500 || titles != 1 {
				t.Errorf("%d bars are drawn, %d of a second attempt", bars, titles)
			}
			for _, want := range []string{"second attempt", "failed", "1999 of 2000", "1.3×", "about"} {
				if !strings.Contains(text, want) {
					t.Errorf("the large run lacks %q", want)
				}
			}
			for _, state := range []string{"running", "failed", "succeeded", "waiting"} {
				if err := chromedp.Run(ctx, chromedp.Navigate(s.server.URL+"/#/runs/"+runs[state]), shows(runs[state]), shows("plan 1/1"), fits()); err != nil {
					t.Fatalf("%s run: %v", state, err)
				}
				picture(t, ctx, screen.name+"-"+state)
			}
			var shown struct {
				Links, Stuck, Busy bool
				Days               []string // titles of times that are not of today
			}
			look := func(what string, into any) chromedp.Action { return chromedp.Evaluate(what, into) }
			box := `document.querySelector("[data-key=waiting]").classList.contains("pending")`
			err = chromedp.Run(ctx,
				look(`!document.getElementById("links").hidden`, &shown.Links), look(box, &shown.Stuck),
				chromedp.Navigate(s.server.URL+"/#/runs/"+runs["running"]), shows("waits for its parallelism"), look(box, &shown.Busy),
				chromedp.Navigate(s.server.URL+"/#/"), shows("1.3.9"),
				look(`[...document.querySelectorAll("time")].filter((t) => /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(t.innerText)).map((t) => t.title)`, &shown.Days),
				chromedp.Navigate(s.server.URL+"/#/runs/"+runs["waiting"]), shows("each 64 cpus"))
			if err != nil {
				t.Fatal(err)
			}
			if !shown.Links || !shown.Stuck || shown.Busy {
				t.Errorf("got %+v; want links, and a colour only where nothing runs", shown)
			}
			if len(shown.Days) == 0 || !zoned.MatchString(shown.Days[0]) {
				t.Errorf("got titles %q of times of other days", shown.Days)
			}
			// The page follows: what waited ran and succeeded.
			s.scheduler.UpdateRun(runs["waiting"], succeed)
			if err := chromedp.Run(ctx, shows("12,345")); err != nil {
				t.Errorf("the page did not follow the run: %v", err)
			}
			// A log opens from the keyboard's button, and is read.
			if err := chromedp.Run(ctx, chromedp.Navigate(s.server.URL+"/#/runs/"+runs["failed"]), shows("stderr"),
				chromedp.Evaluate(`document.querySelector('button[aria-label^="stderr of"]').click()`, nil), shows("stderr of "+runs["failed"]+".plan.0.1, follow true")); err != nil {
				t.Errorf("log: %v", err)
			}
			picture(t, ctx, screen.name+"-log")
			if err := chromedp.Run(ctx, chromedp.Evaluate("window.hostile !== undefined", &hostile)); err != nil {
				t.Fatal(err)
			}
			if hostile {
				t.Error("a text from the API ran as a script")
			}
		})
	}
}

// Nothing is registered, one version is, and more than a page shows.
func TestDashboardShowsAnyNumberOfVersions(t *testing.T) {
	ctx := browser(t, 700, 900, false)
	for _, many := range []int{0, 1, 60} {
		s := serve(t)
		s.scheduler.Update(func(v *scheduler.View) {
			clear(v.Versions)
			clear(v.Channels)
			for i := range many {
				name := fmt.Sprintf("1.%d.0", i)
				record := &proto.ExecutorVersion{Version: name, Registered: time.Unix(1_800_000_000, 0), Artifacts: []proto.Artifact{apitest.Artifact(name, "linux", "amd64", "cafe")}}
				v.Versions[name] = &scheduler.VersionView{Version: record, Use: &proto.Use{}}
			}
		})
		want := map[int]string{0: "No executor version is registered yet", 1: "1.0.0", 60: "50+"}[many]
		var text string
		var overflow bool
		err := chromedp.Run(ctx, chromedp.Navigate(s.server.URL+"/"), chromedp.Poll(`document.getElementById("executors") !== null`, nil, chromedp.WithPollingTimeout(20*time.Second)),
			chromedp.Text(`section[data-key="executors"]`, &text), chromedp.Evaluate("document.documentElement.scrollWidth > innerWidth", &overflow))
		if err != nil {
			t.Fatalf("%d versions: %v", many, err)
		}
		if !strings.Contains(text, want) || overflow {
			t.Errorf("%d versions: got %q, wider than the screen: %v; want %q", many, text, overflow, want)
		}
		picture(t, ctx, fmt.Sprintf("%d-versions", many))
	}
}

// The tables and bars say what they are to those who do not see them.
func TestDashboardIsNamed(t *testing.T) {
	ctx := browser(t, 1400, 1000, false)
	s := serve(t)
	s.scheduler.ExampleRollouts(time.Now(), s.scheduler.Example(time.Now()))
	for _, page := range []string{"/", "/#/channels/stable", "/#/channels/nightly"} {
		var unnamed []string
		err := chromedp.Run(ctx, chromedp.Navigate(s.server.URL+page), chromedp.Poll(`document.querySelector(".track") !== null`, nil, chromedp.WithPollingTimeout(20*time.Second)),
			chromedp.Evaluate(`[
				...[...document.querySelectorAll("table")].filter((t) => !t.caption?.innerText || [...t.tHead.rows[0].cells].some((c) => c.scope !== "col")),
				...[...document.querySelectorAll("[role=progressbar], ol.track, section, nav")].filter((e) => !e.ariaLabel && !document.getElementById(e.getAttribute("aria-labelledby"))),
				...[...document.querySelectorAll("ol.track")].filter((e) => [...e.children].some((step) => !/ %, ./.test(step.textContent))),
			].map((e) => e.outerHTML.slice(0, 200))`, &unnamed))
		if err != nil {
			t.Fatalf("%s: %v", page, err)
		}
		if len(unnamed) > 0 {
			t.Errorf("%s: without a name: %q", page, unnamed)
		}
	}
}
