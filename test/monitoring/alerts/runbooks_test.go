package alerts

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	root     = "../../.."
	runbooks = "docs/runbooks.md"
	// website is where the alerts' links point to.
	website = "https://git.srvlab.io/whiskey/rds-csi-driver/src/branch/main/"
)

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// sections returns the sections of a page by their titles, and the titles in order.
func sections(page string) (byTitle map[string]string, titles []string) {
	byTitle = map[string]string{}
	for _, part := range strings.Split(page, "\n## ")[1:] {
		title, section, _ := strings.Cut(part, "\n")
		byTitle[title] = section
		titles = append(titles, title)
	}
	return byTitle, titles
}

// anchors returns the anchors of a page's titles, as Gitea and GitHub make them.
func anchors(page string) []string {
	var found []string
	for _, title := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		anchor := regexp.MustCompile(`[^\p{L}\p{N}\- ]`).ReplaceAllString(strings.ToLower(title[1]), "")
		found = append(found, strings.ReplaceAll(anchor, " ", "-"))
	}
	return found
}

func TestEachAlertHasItsRunbookAndEachRunbookItsAlert(t *testing.T) {
	t.Parallel()
	page := read(t, runbooks)
	byTitle, titles := sections(page)
	var names []string
	for _, alert := range render(t).alerts(t) {
		names = append(names, alert.Alert)
		section := byTitle[alert.Alert]
		at := 0
		for _, part := range []string{"**Meaning.** ", "**Impact.** ", "**Look at.** ", "**Do.** "} {
			found := strings.Index(section[at:], "\n"+part)
			if found < 0 {
				t.Errorf("%s: its section lacks %s, or has it in another place", alert.Alert, part)
				break
			}
			at += found
		}
		anchor, found := strings.CutPrefix(alert.Annotations["runbook_url"], website+runbooks+"#")
		if !found || !slices.Contains(anchors(page), anchor) || anchor != strings.ToLower(alert.Alert) {
			t.Errorf("%s: %s leads to no section, or to that of another alert", alert.Alert, alert.Annotations["runbook_url"])
		}
	}
	if !slices.Equal(titles, names) {
		t.Errorf("%s has the sections\n%v, want those of the alerts in their order\n%v", runbooks, titles, names)
	}
}

var link = regexp.MustCompile(`\]\(([a-z]*\.?m?d?)#([^)\s]*)\)`)

func TestLinksOfRunbooksLeadSomewhere(t *testing.T) {
	t.Parallel()
	page := read(t, runbooks)
	links := link.FindAllStringSubmatch(page, -1)
	if len(links) < 10 {
		t.Fatalf("found %d links only", len(links))
	}
	for _, found := range links {
		there := page
		if found[1] != "" {
			there = read(t, "docs/"+found[1])
		}
		if !slices.Contains(anchors(there), found[2]) {
			t.Errorf("%s: no such section", found[0])
		}
	}
}

var (
	code   = regexp.MustCompile("(?s)```.*?```|`[^`]+`")
	metric = regexp.MustCompile(`\b(?:rds_csi|csi_plugin|process|go|workqueue|rest_client)_[a-z_]+(?:\{[^}]*\})?`)
	ours   = regexp.MustCompile(`^--[a-z-]+`)
	event  = regexp.MustCompile(`^[A-Z][a-z]+(?:[A-Z][a-z]+)+$`)
)

// What a runbook names is looked for by its spelling: metrics and labels as in an alert, flags and events in the source.
func TestRunbooksNameWhatExists(t *testing.T) {
	t.Parallel()
	check := newChecker(t, render(t))
	source := productSource(t)
	// These are Kubernetes' events, and gRPC's codes.
	foreign := append([]string{"FailedAttachVolume"}, laterOnly()["csi_plugin_operations_seconds"].labels["grpc_status_code"]...)
	for _, span := range code.FindAllString(read(t, runbooks), -1) {
		text := strings.Trim(span, "`")
		for _, name := range metric.FindAllString(text, -1) {
			for _, problem := range check.problems(parse(t, name)) {
				t.Errorf("%s: %v", span, problem)
			}
		}
		if flag := ours.FindString(text); flag != "" && !strings.Contains(source, `"`+strings.TrimPrefix(flag, "--")+`"`) {
			t.Errorf("%s: the driver has no such flag", span)
		}
		if event.MatchString(text) && !slices.Contains(foreign, text) && !strings.Contains(source, `Reason = "`+text+`"`) {
			t.Errorf("%s: the driver writes no such event", span)
		}
	}
}

// productSource returns the source of the product.
func productSource(t *testing.T) string {
	t.Helper()
	var source strings.Builder
	for _, folder := range []string{"cmd/rds-csi", "pkg"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			source.Write(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return source.String()
}
