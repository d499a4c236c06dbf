package appliance_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// quote writes a console string.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(text) + `"`
}

// randomText has what makes a reader stumble, but no line break.
func randomText(r *rand.Rand, longest int) string {
	letters := []rune(`abcdefgh-.:/0123 =";$\[]{}é⚠`)
	text := make([]rune, r.IntN(longest))
	for i := range text {
		text[i] = letters[r.IntN(len(letters))]
	}
	return string(text)
}

// However wide the console is and in whatever order rows and properties come,
// print detail holds what as-value holds, but for the digits that rounding
// takes from file-size.
func TestWrappingAndReorderingLoseNothing(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			console := appliance.Console{
				Width: 50 + r.IntN(150), Indent: 1 + r.IntN(20), Renumber: r.IntN(2) == 0,
				Rows: func(rows []script.Record) {
					r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
				},
				Properties: func(names []string) {
					r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
				},
			}
			if r.IntN(10) == 0 {
				console.Width = -1
			}
			b := open(t, func(o *appliance.Options) { o.Console = console })
			for i := range r.IntN(4) {
				b.want(t, fmt.Sprintf(`/disk add type=file slot=%q file-path="raid10/%s.img" file-size=%d comment=%s `+
					`nvme-tcp-export=%t nvme-tcp-server-allow-host-name=%s nvme-tcp-server-nqn=%s disabled=%t`,
					fmt.Sprintf("s%d", i), strings.Repeat(strconv.Itoa(i), 1+r.IntN(200)), 1+r.Int64N(1<<31), quote(strings.TrimLeft(randomText(r, 60), " ")),
					r.IntN(2) == 0, quote(randomText(r, 200)), quote("n"+strconv.Itoa(i)+randomText(r, 200)), r.IntN(2) == 0), "")
			}
			compareDetail(t, b, console)
		})
	}
}

func compareDetail(t *testing.T, b *bench, console appliance.Console) {
	t.Helper()
	var want []map[string]any
	out := b.run(t, `:put [:serialize to=json options=json.no-string-conversion value=[/disk print as-value]]`)
	decoder := json.NewDecoder(strings.NewReader(out))
	decoder.UseNumber()
	if err := decoder.Decode(&want); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"fs": true}
	for _, row := range want {
		for name := range row {
			names[name] = true
		}
	}
	out = b.run(t, `/disk print detail`)
	wellWrapped(t, out, console.Width)
	got := readDetail(t, out, console.Indent, slices.Sorted(maps.Keys(names)))
	if len(got) != len(want) {
		t.Fatalf("got %d items, want %d, in\n%s", len(got), len(want), out)
	}
	for _, row := range want {
		i := slices.IndexFunc(got, func(i item) bool { return i.properties["slot"] == row["slot"] })
		if i < 0 {
			t.Fatalf("no item with slot %v in\n%s", row["slot"], out)
		}
		sameDisk(t, got[i], row)
	}
}

// wellWrapped allows a line to be a little too long, as captured, and a comment
// to be as long as it likes.
func wellWrapped(t *testing.T, out string, width int) {
	t.Helper()
	for line := range strings.SplitSeq(out, "\r\n") {
		free := width < 0 || strings.HasPrefix(line, "Flags:") || strings.Contains(line, ";;; ")
		if !free && utf8.RuneCountInString(line) > width+5 {
			t.Errorf("line %q is longer than %d columns", line, width)
		}
	}
}

func sameDisk(t *testing.T, got item, row map[string]any) {
	t.Helper()
	letters := map[string]string{"disabled": "X", "empty": "E", "block-device": "B", "mounted": "M", "nvme-tcp-export": "t"}
	for name, letter := range letters {
		if strings.Contains(got.flags, letter) != (row[name] == true) {
			t.Errorf("%v: flags %q, want %s only if %s", row["slot"], got.flags, letter, name)
		}
	}
	if comment, _ := row["comment"].(string); got.comment != comment {
		t.Errorf("%v: comment %q, want %q", row["slot"], got.comment, comment)
	}
	for name, value := range row {
		printed, shown := got.properties[name]
		switch {
		case name == ".id" || name == "comment" || !shown && letters[name] != "":
		case name == "file-size":
			roundsTo(t, printed, fmt.Sprint(value))
		case unformat(printed, value) != fmt.Sprint(value):
			t.Errorf("%v: %s is printed as %q, want %v", row["slot"], name, printed, value)
		}
	}
}

// unformat undoes what print does to numbers and booleans.
func unformat(printed string, value any) string {
	switch value.(type) {
	case bool:
		return strconv.FormatBool(printed == "yes")
	case json.Number:
		return strings.TrimSuffix(strings.ReplaceAll(printed, " ", ""), "%")
	default:
		return printed
	}
}

func roundsTo(t *testing.T, printed, exact string) {
	t.Helper()
	n, err := strconv.ParseFloat(exact, 64)
	if err != nil {
		t.Fatal(err)
	}
	for unit, factor := range map[string]float64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if digits, found := strings.CutSuffix(printed, unit); found {
			if got, err := strconv.ParseFloat(digits, 64); err != nil || math.Abs(got*factor-n) > factor*0.0501 {
				t.Errorf("%s is printed as %q", exact, printed)
			}
			return
		}
	}
	if printed != exact {
		t.Errorf("%s is printed as %q", exact, printed)
	}
}
