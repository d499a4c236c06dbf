package script_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// device has two items and remembers what was asked of it.
type device struct{ calls []string }

func (d *device) rows() []script.Record {
	return []script.Record{
		{".id": "*1", "slot": "a", "size": int64(5), "mounted": true, "comment": "rds/1 x", "file": "5"},
		{".id": "*2", "slot": "b", "size": int64(7), "mounted": false},
	}
}

func (d *device) Run(_ context.Context, call script.Call) (script.Result, error) {
	switch call.Command {
	case "set":
		d.calls = append(d.calls, "set "+script.Format(call.Args["numbers"])+" "+script.Format(call.Args["comment"]))
		return script.Result{}, nil
	case "fail":
		return script.Result{}, script.Failf("failure: no")
	case "break":
		return script.Result{}, errBroken
	case "get":
		return script.Result{Value: 90 * time.Hour}, nil
	}
	ids, rows := script.List{}, script.List{}
	for _, row := range d.rows() {
		if call.Where != nil {
			wanted, err := call.Where(row)
			if err != nil {
				return script.Result{}, err
			}
			if !wanted {
				continue
			}
		}
		ids, rows = append(ids, row[".id"]), append(rows, row)
	}
	if call.Flags["as-value"] {
		return script.Result{Value: rows}, nil
	}
	return script.Result{Value: ids}, nil
}

var errBroken = errors.New("broken")

func language() script.Language {
	disk := &script.Menu{
		Path:       "/disk",
		Properties: script.Names(".id", "slot", "size", "mounted", "comment", "file"),
		Commands: map[string]*script.Command{
			"set":   {Args: script.Names("numbers", "comment"), Positional: []string{"numbers"}},
			"find":  {Where: true, BareWhere: true},
			"print": {Args: script.Names("proplist"), Flags: script.Names("detail", "as-value"), Where: true},
			"fail":  {}, "break": {},
		},
	}
	resource := &script.Menu{Path: "/system/resource", Commands: map[string]*script.Command{
		"get": {Positional: []string{"value-name"}},
	}}
	return script.Language{
		Root: &script.Menu{Menus: map[string]*script.Menu{
			"disk":   disk,
			"system": {Path: "/system", Menus: map[string]*script.Menu{"resource": resource}},
		}},
		SerializeOptions: true,
	}
}

// run executes a line and returns its output, or the parse error.
func run(t *testing.T, d *device, line string) string {
	t.Helper()
	program, err := script.Parse(line, language())
	if err != nil {
		return err.Error()
	}
	var out bytes.Buffer
	env := &script.Env{Device: d, Lock: &sync.Mutex{}, Out: &out, Locations: true}
	if err := program.Run(t.Context(), env); err != nil {
		t.Fatalf("run %s: %v", line, err)
	}
	return out.String()
}

func TestLinesPrint(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{"text", `:put "a b"`, "a b\r\n"},
		{"unquoted word", `:put abc`, "abc\r\n"},
		{"two statements", `:put 1; :put 2;`, "1\r\n2\r\n"},
		{"escapes", `:put "q\" b\\ d\$ s\_ x\41\E2\9A\A0"`, "q\" b\\ d$ s  xA⚠\r\n"},
		{"variable in text", `:local n 5; :put "v=$n."`, "v=5.\r\n"},
		{"unknown variable vanishes", `:put "cost $price"`, "cost \r\n"},
		{"expression in text", `:put "is $(1 = 1)"`, "is true\r\n"},
		{"command in text", `:put "n $[:len [/disk find]]"`, "n 2\r\n"},
		{"concatenation", `:put ("a" . "b" . (1 = 2))`, "abfalse\r\n"},
		{"time", `:put [/system resource get uptime]`, "3d18:00:00\r\n"},
		{"path with slashes", `:put [/system/resource/get uptime]`, "3d18:00:00\r\n"},
		{"as-value has no quoting", `:put [/disk print as-value where slot=a]`, ".id=*1;comment=rds/1 x;file=5;mounted=true;size=5;slot=a\r\n"},
		{"if", `:if (1 = 1 && [:len [/disk find]] = 2) do={ :put y } else={ :put n }`, "y\r\n"},
		{"else", `:if (1 = 2 || !(1 = 1)) do={ :put y } else={ :put n }`, "n\r\n"},
		{"if without else", `:if (1 = 2) do={ :put y }`, ""},
		{"caught", `:onerror e in={ /disk fail; :put no } do={ :put ("E " . $e) }; :put on`, "E failure: no (/disk/fail; line 1)\r\non\r\n"},
		{"not needed", `:onerror e in={ :put a } do={ :put b }`, "a\r\n"},
		{"old form", `:do { /disk fail } on-error={ :put caught }`, "caught\r\n"},
		{"old form without handler", `:do { :put a }`, "a\r\n"},
		{"own error", `:put a; :error "oh"; :put b`, "a\r\noh (:error; line 1)\r\n"},
		{"uncaught", `:put a; /disk fail; :put b`, "a\r\nfailure: no (/disk/fail; line 1)\r\n"},
		{"scope of a block", `:do { :local x 1 }; :put "x$x"`, "x\r\n"},
		{"typed condition", `:if (5) do={}`, "conditional not boolean\r\n"},
		{"a bad delay", `:delay soon`, "invalid value for argument delay-time\r\n"},
		{"a short delay", `:delay 1ms; :put x`, "x\r\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := run(t, &device{}, test.line); got != test.want {
				t.Errorf("%s\ngot  %q\nwant %q", test.line, got, test.want)
			}
		})
	}
}

func TestFiltersSelect(t *testing.T) {
	tests := []struct{ where, want string }{
		{`where slot="a"`, "*1"},
		{`slot=a`, "*1"},
		{``, "*1;*2"},
		{`where mounted`, "*1"},
		{`where !mounted`, "*2"},
		{`where mounted=yes`, "*1"},
		{`where mounted=no`, "*2"},
		{`where size>5`, "*2"},
		{`where size>=5 size<7`, "*1"},
		{`where size<=5`, "*1"},
		{`where size="5"`, ""}, // a string is not a number
		{`where file=5`, ""},   // nor the other way round
		{`where file="5"`, "*1"},
		{`where slot=a or slot=b`, "*1;*2"},
		{`where slot=a and size=7`, ""},
		{`where slot!=a`, "*2"},
		{`where comment~"^rds/1 "`, "*1"}, // no comment: no match
		{`where slot~"[ab]{1}" .id=*2`, "*2"},
		{`where (slot=a || slot=b) && size=7`, "*2"},
		{`where slot=slot`, "*1;*2"},           // a property name is the property
		{`where slot="$slot"`, "*1;*2"},        // even behind a dollar
		{`where slot=[/disk find slot=b]`, ""}, // a nested command has its own filter
	}
	for _, test := range tests {
		t.Run(test.where, func(t *testing.T) {
			got := run(t, &device{}, `:put [/disk find `+test.where+`]`)
			if want := test.want + "\r\n"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestABadLineIsRejectedBeforeAnythingRuns(t *testing.T) {
	const first = `/disk set a comment=x; ` // 23 characters
	tests := []struct{ rest, want string }{
		{`/disk foo`, "bad command name foo (line 1 column 30)"},
		{`:foo`, "bad command name foo (line 1 column 25)"},
		{`:put [:foo]`, "bad command name foo (line 1 column 31)"},
		{`/disk`, "expected command name (line 1 column 29)"},
		{`/disk set a colour=red`, "expected end of command (line 1 column 36)"},
		{`/disk set a b`, "expected end of command (line 1 column 36)"},
		{`/disk find where colour=red`, "expected end of command (line 1 column 41)"},
		{`:put "a`, "syntax error (line 1 column 31)"},
		{`:put "a\x"`, "syntax error (line 1 column 31)"},
		{`:put "\e2"`, "syntax error (line 1 column 30)"},
		{`:put "a$ b"`, "syntax error (line 1 column 32)"},
		{`:put (1 = )`, "syntax error (line 1 column 34)"},
		{`:put [/disk find`, "expected end of command (line 1 column 40)"},
		{`:put 1 2`, "expected end of command (line 1 column 31)"},
		{`:put "a"b`, "expected end of command (line 1 column 32)"},
		{`:if (1=1) then={}`, "expected end of command (line 1 column 34)"},
		{`:onerror e in={`, "syntax error (line 1 column 39)"},
		{`:onerror in={}`, "expected end of command (line 1 column 35)"},
		{`:local`, "syntax error (line 1 column 30)"},
		{`}`, "syntax error (line 1 column 24)"},
		{"\n:put x", "syntax error (line 1 column 24)"},
		{`:put [:serialize to=xml value=1]`, "expected end of command (line 1 column 41)"},
		{`:put [:serialize to=json options=JSON.no-string-conversion value=1]`, "expected end of command (line 1 column 49)"},
	}
	for _, test := range tests {
		t.Run(test.rest, func(t *testing.T) {
			d := &device{}
			if got := run(t, d, first+test.rest); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
			if len(d.calls) > 0 {
				t.Errorf("the statement before the error ran: %q", d.calls)
			}
		})
	}
}

func TestARuntimeErrorKeepsWhatCameBefore(t *testing.T) {
	d := &device{}
	run(t, d, `/disk set a comment=1; /disk fail; /disk set a comment=2`)
	if want := []string{"set a 1"}; !cmp.Equal(d.calls, want) {
		t.Errorf("got calls %q, want %q", d.calls, want)
	}
}

func TestABareFindBelongsToItsCommandsMenu(t *testing.T) {
	d := &device{}
	run(t, d, `/disk set [find where slot=b] comment="x y"; /disk/set numbers=[find] comment=z`)
	if want := []string{"set *2 x y", "set *1;*2 z"}; !cmp.Equal(d.calls, want) {
		t.Errorf("got calls %q, want %q", d.calls, want)
	}
}

func TestUnescapedDataEscapesItsQuotes(t *testing.T) {
	d := &device{}
	name := `x"; /disk set b comment="y` // a client that pastes it in as it is
	run(t, d, `/disk set a comment="`+name+`"`)
	if want := []string{"set a x", "set b y"}; !cmp.Equal(d.calls, want) {
		t.Errorf("got calls %q, want %q", d.calls, want)
	}
}

func TestSerialize(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{
			"sorted and typed", `[:serialize to=json options=json.no-string-conversion value=[/disk print as-value]]`,
			`[{".id":"*1","comment":"rds/1 x","file":"5","mounted":true,"size":5,"slot":"a"},{".id":"*2","mounted":false,"size":7,"slot":"b"}]`,
		},
		{
			"numeric strings become floats without the option", `[:serialize to=json value=[/disk print as-value where slot=a]]`,
			`[{".id":"*1","comment":"rds/1 x","file":5.000000,"mounted":true,"size":5,"slot":"a"}]`,
		},
		{"nothing found", `[:serialize to=json value=[/disk print as-value where slot=c]]`, `[]`},
		{"time", `[:serialize to=json value=[/system resource get uptime]]`, `"3d18:00:00"`},
		{"nothing", `[:serialize to=json value=$nothing]`, `null`},
		{"no HTML escapes", `[:serialize to=json value="<a&b>"]`, `"<a&b>"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := run(t, &device{}, ":put "+test.line); got != test.want+"\r\n" {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestAnAbortIsNeverCaught(t *testing.T) {
	for _, line := range []string{
		`:onerror e in={ /disk break } do={ :put caught }`,
		`:do { /disk break } on-error={ :put caught }`,
	} {
		program, err := script.Parse(line, language())
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = program.Run(t.Context(), &script.Env{Device: &device{}, Lock: &sync.Mutex{}, Out: &out})
		if !errors.Is(err, errBroken) || out.Len() > 0 {
			t.Errorf("%s: got error %v and output %q, want the device's error and none", line, err, out.String())
		}
	}
}

func TestACancelledProgramStops(t *testing.T) {
	program, err := script.Parse(`:delay 1000; :put x`, language())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	env := &script.Env{
		Device: &device{}, Lock: &sync.Mutex{}, Out: &bytes.Buffer{},
		BeforeStatement: func() error { cancel(); return nil },
	}
	if err := program.Run(ctx, env); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func FuzzAnyLineEndsWithoutPanic(f *testing.F) {
	for _, line := range []string{
		`:onerror e in={ /disk set [find where slot="X" comment="O"] comment="N"; :put "D" } do={ :put ("E " . $e) }`,
		`:if ([:len [/disk find where slot=a]] = 1 && !(1 = 2)) do={ :do { :error "x" } on-error={} } else={ :local a "$[:len "$(1)"]" }`,
		`:put [:serialize to=json options=json.no-string-conversion value=[/disk print detail as-value proplist=a,b where slot~"(a|b)*" or .id=*1]]`,
		`/disk/set *2B comment=(1 . "\41\_\"")`,
		":put " + strings.Repeat("(", 1000), ":put " + strings.Repeat("[:len ", 1000),
		strings.Repeat(":do {", 1000), ":if (" + strings.Repeat("!", 1000), ":put \"" + strings.Repeat("$(", 1000), "\x00",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		program, err := script.Parse(line, language())
		var rejected *script.ParseError
		if err != nil {
			if !errors.As(err, &rejected) || rejected.Column < 1 || rejected.Column > len(line)+1 {
				t.Fatalf("Parse(%q): got %v, want a ParseError inside the line", line, err)
			}
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err = program.Run(ctx, &script.Env{Device: &device{}, Lock: &sync.Mutex{}, Out: &bytes.Buffer{}})
		if err != nil && !errors.Is(err, errBroken) && ctx.Err() == nil {
			t.Fatalf("Run(%q): %v", line, err)
		}
	})
}
