package rds

import (
	"bytes"
	"context"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// recorder is a device with one disk, whose slot is the text under test; it notes every command that reaches it.
type recorder struct {
	slot  string
	calls []string
}

func (r *recorder) Run(_ context.Context, call script.Call) (script.Result, error) {
	if call.Command == "set" {
		r.calls = append(r.calls, "set "+script.Format(call.Args["numbers"])+" "+script.Format(call.Args["comment"]))
		return script.Result{}, nil
	}
	found := script.List{}
	matches, err := call.Where(script.Record{".id": "*1", "slot": r.slot, "comment": ""})
	if matches {
		found = append(found, "*1")
	}
	r.calls = append(r.calls, "find")
	return script.Result{Value: found}, err
}

func diskLanguage() script.Language {
	return script.Language{Root: &script.Menu{Menus: map[string]*script.Menu{"disk": {
		Path: "/disk", Properties: script.Names(".id", "slot", "comment"),
		Commands: map[string]*script.Command{
			"set":    {Args: script.Names("numbers", "comment"), Positional: []string{"numbers"}},
			"find":   {Where: true, BareWhere: true},
			"remove": {Positional: []string{"numbers"}},
		},
	}}}}
}

// FuzzQuoted compares the one quoting function with the simulator's own evaluator of strings. Whatever text is accepted, the
// command does to the appliance exactly what it would do with a harmless text in its place.
func FuzzQuoted(f *testing.F) {
	for _, text := range []string{
		"raid10/rds-csi/x.img", `"; /disk remove [find]; :put "`, "$x $(y) $[/disk print]\\\r\n", "\x00", "a b=c,d", "è⚠", "slot", "?", "#", "'", "{}", "\xff", strings.Repeat("x", 600), "",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cmd := newCommand(KindCheck)
		quoted := cmd.quoted(text)
		if _, err := cmd.line(); err != nil {
			if field := (*FieldError)(nil); !errors.As(err, &field) {
				t.Errorf("%q: got %v, want a FieldError", text, err)
			}
			return
		}
		program, err := script.Parse("/disk set [find where slot="+quoted+"] comment="+quoted+"; :put "+quoted, diskLanguage())
		if err != nil {
			t.Fatalf("%q breaks the command: %v", text, err)
		}
		device, out := &recorder{slot: text}, &bytes.Buffer{}
		if err := program.Run(t.Context(), &script.Env{Device: device, Lock: &sync.Mutex{}, Out: out}); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Join(device.calls, "; "), "find; set *1 "+text; got != want {
			t.Errorf("%q: the appliance was told %q, want %q", text, got, want)
		}
		if got := out.String(); got != text+"\r\n" {
			t.Errorf("%q evaluates to %q", text, got)
		}
	})
}

// FuzzNumber: sizes come as numbers or as text with digits in groups. One that is accepted is exact.
func FuzzNumber(f *testing.F) {
	for _, text := range []string{"1024", `"1 024"`, `"1099511627776"`, "1e3", "-1", `""`, "null", "99999999999999999999", `"1.0GiB"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var got number
		if err := got.UnmarshalJSON([]byte(text)); err != nil {
			return
		}
		digits := strings.NewReplacer(`"`, "", " ", "").Replace(text)
		if digits == "" || digits == "null" {
			digits = "0"
		}
		if want, ok := new(big.Int).SetString(digits, 10); !ok || want.Cmp(big.NewInt(int64(got))) != 0 {
			t.Errorf("%q was read as %d", text, got)
		}
	})
}

// FuzzParseVolumeID: what is accepted says exactly what it was read from, and is fit for a command.
func FuzzParseVolumeID(f *testing.F) {
	f.Add("raid10/rds-csi/csi-b4e70c9a24a43ea7ee6b063d4af4")
	f.Add("../../csi-b4e70c9a24a43ea7ee6b063d4af4")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseVolumeID(text)
		if err != nil {
			return
		}
		if id.String() != text || id.Pool() == "" || strings.Contains(text, "..") && strings.Contains("/"+text+"/", "/../") {
			t.Errorf("%q was read as %q in pool %q", text, id, id.Pool())
		}
		if err := checkQuotable(id.file().inDisk()); err != nil {
			t.Errorf("%q can't be used in a command: %v", text, err)
		}
	})
}
