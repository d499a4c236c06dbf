package generated

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"text/template"
)

// writing is the environment variable that has Page write instead of compare.
const writing = "RDS_CSI_WRITE_DOCS"

// Page renders a template, a file of the test's testdata, with data, and fails if the file page isn't that.
func Page(t *testing.T, templateName, page string, data any) {
	t.Helper()
	parsed, err := template.ParseFiles("testdata/" + templateName)
	if err != nil {
		t.Fatal(err)
	}
	var rendered bytes.Buffer
	if err := parsed.Option("missingkey=error").Execute(&rendered, data); err != nil {
		t.Fatal(err)
	}
	if os.Getenv(writing) != "" {
		if err := os.WriteFile(page, rendered.Bytes(), 0o644); err != nil { //nolint:gosec // a page of the documentation
			t.Fatal(err)
		}
	}
	is, err := os.ReadFile(page) //nolint:gosec // the caller's page
	if err != nil {
		t.Fatal(err)
	}
	if want := rendered.String(); string(is) != want {
		t.Errorf("%s is stale; `make docs` writes it anew. The first line that differs:\n%s", page, firstDifference(string(is), want))
	}
}

func firstDifference(is, want string) string {
	has, wants := strings.Split(is, "\n"), strings.Split(want, "\n")
	for i := range wants {
		if i >= len(has) || has[i] != wants[i] {
			return "want: " + wants[i]
		}
	}
	return "it goes on after the end"
}

// Cell returns text as it stands in a cell of a Markdown table.
func Cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}
