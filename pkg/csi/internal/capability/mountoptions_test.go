package capability

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

func TestMountOptions(t *testing.T) {
	const label = `context="system_u:object_r:container_file_t:s0:c1,c2"`
	for name, c := range map[string]struct{ flags, want []string }{
		"none":                         {nil, nil},
		"several in one":               {[]string{"noatime,nodev", "", "commit=30"}, []string{"noatime", "nodev", "commit=30"}},
		"kubelet's label":              {[]string{label}, []string{label}},
		"label among others":           {[]string{"noatime," + label + ",nodev"}, []string{"noatime", label, "nodev"}},
		"label without quotes":         {[]string{"context=system_u:object_r:container_file_t:s0:c1,c2", "noatime"}, []string{label, "noatime"}},
		"label with a range":           {[]string{"context=u:r:t:s0:c1.c5,c9,ro"}, []string{`context="u:r:t:s0:c1.c5,c9"`, "ro"}},
		"label without categories":     {[]string{"context=u:r:t:s0,noatime"}, []string{"context=u:r:t:s0", "noatime"}},
		"three categories":             {[]string{"fscontext=u:r:t:s0:c1,c2,c3"}, []string{`fscontext="u:r:t:s0:c1,c2,c3"`}},
		"quoted label of one category": {[]string{`context="u:r:t:s0:c1"`}, []string{`context="u:r:t:s0:c1"`}},
		"category after no label":      {[]string{"noatime,c1"}, []string{"noatime", "c1"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := MountOptions(c.flags)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("MountOptions(%q) = %q, %v, want %q", c.flags, got, err, c.want)
			}
		})
	}
	for _, flag := range []string{`context="a,b`, "bind", "noatime,rbind", "move", "remount,rw", "loop", "loop=/dev/loop0", "a\nb", "a\x00"} {
		if got, err := MountOptions([]string{flag}); failure.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "mount_flags") {
			t.Errorf("MountOptions(%q) = %q, %v, want an InvalidError about mount_flags", flag, got, err)
		}
	}
}

// What mount(8) is handed must come apart again as it was: a comma that isn't in quotes begins another option.
func FuzzMountOptions(f *testing.F) {
	f.Add(`noatime,context="u:r:t:s0:c1,c2",ro`, "context=a:c1,c2")
	f.Add(`a"b,c"d`, `,,"`)
	f.Fuzz(func(t *testing.T, first, second string) {
		options, err := MountOptions([]string{first, second})
		if err != nil {
			return
		}
		again, err := MountOptions([]string{strings.Join(options, ",")})
		if err != nil || !slices.Equal(again, options) {
			t.Errorf("%q + %q: %q, and joined and taken apart again %q, %v", first, second, options, again, err)
		}
		for _, option := range options {
			if split, closed := splitAtCommas(option); len(split) != 1 || !closed || otherMount(option) {
				t.Errorf("%q + %q: option %q is several, or another mount", first, second, option)
			}
		}
	})
}
