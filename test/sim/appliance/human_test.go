package appliance_test

import (
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

func TestTheFlagsHeaderIsThereWithoutARow(t *testing.T) {
	b := open(t, nil)
	b.want(t, `/disk print detail where slot=nosuch`, "Flags:\r\n")
	b.want(t, `/disk print where slot=nosuch`, "Flags:\r\n")
	b.want(t, `/file print detail where name=nosuch`, "")
}

func TestANumberIsThatOfTheItemOrOfTheRow(t *testing.T) {
	const line = `/disk print terse proplist=slot where slot=x`
	b := open(t, nil)
	b.run(t, add)
	b.want(t, line, " 1 B slot=x\r\n")
	b = open(t, func(o *appliance.Options) { o.Console.Renumber = true })
	b.run(t, add)
	b.want(t, line, " 0 B slot=x\r\n")
}

func TestTerseHasALinePerItemAndNoQuotes(t *testing.T) {
	b := open(t, nil)
	b.run(t, add+`comment="slot=y" nvme-tcp-export=yes`)
	b.want(t, `/disk print terse proplist=slot,size,nvme-tcp-server-nqn`,
		" 0 BM  slot=raid10 size=10 737 418 240\r\n 1 B t ;;; slot=y slot=x size=1 073 741 824 nvme-tcp-server-nqn=nqn:x\r\n")
}

func TestATableIsPadded(t *testing.T) {
	b := open(t, nil)
	b.run(t, add+`comment="first"`)
	b.want(t, `/disk print proplist=slot,size where slot=x or slot=raid10`, strings.Join([]string{
		"Flags: B - BLOCK-DEVICE; M - MOUNTED",
		"Columns: SLOT, SIZE",
		"#      SLOT   SIZE          ",
		" 0 BM  raid10 10 737 418 240",
		";;; first",
		" 1 B   x      1 073 741 824 ",
		"",
	}, "\r\n"))
}

func TestACommentHasALineOfItsOwn(t *testing.T) {
	b := open(t, nil)
	b.run(t, add+`comment="a; b=c"`)
	b.want(t, `/disk print detail proplist=slot,fs where slot=x`, strings.Join([]string{
		"Flags: B - BLOCK-DEVICE", " 1 B ;;; a; b=c", `               slot="x" fs=-`, "",
	}, "\r\n"))
}

func TestEveryFlagHasItsLetter(t *testing.T) {
	b := open(t, nil)
	b.run(t, add+`nvme-tcp-export=yes disabled=yes; /file remove raid10/x.img`)
	b.want(t, `/disk print terse proplist=slot`, " 0   BM  slot=raid10\r\n 1 XEB t slot=x\r\n")
	got := b.run(t, `/disk print`)
	if want := "Flags: X - DISABLED; E - EMPTY; B - BLOCK-DEVICE; M - MOUNTED; t - NVME-TCP-EXPORT\r\n"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want it to begin with %q", got, want)
	}
}

func TestSizesOfFilesAreRounded(t *testing.T) {
	for size, want := range map[string]string{
		"1023": "1023", "1K": "1024", "1025": "1.0KiB", "1M": "1024.0KiB", "1500K": "1.5MiB", "1G": "1024.0MiB", "5G": "5.0GiB",
	} {
		b := open(t, nil)
		b.run(t, `/disk add type=file slot=x file-path=raid10/x.img file-size=`+size)
		if got := b.run(t, `/disk print detail where slot=x`); !strings.Contains(got, "file-size="+want+" ") {
			t.Errorf("%s: got\n%s\nwant file-size=%s", size, got, want)
		}
	}
}

func TestAsValueIsJoinedWithoutQuotes(t *testing.T) {
	b := open(t, nil)
	b.run(t, add+`comment="a;slot=forged"`)
	b.want(t, `:put [/disk print as-value proplist=slot,comment where slot=x]`, ".id=*2;comment=a;slot=forged;slot=x\r\n")
}

func TestALongPathIsBrokenInTheMiddleOfAWord(t *testing.T) {
	b := open(t, func(o *appliance.Options) { o.Unknowns.SlotMax = 40 })
	b.run(t, `/file add name=raid10/metal-csi type=directory; /disk add type=file slot=pvc-ccdecfad-a8bf-572e-9120-464c4d99f12f `+
		`file-path=/raid10/metal-csi/pvc-ccdecfad-a8bf-572e-9120-464c4d99f12f.img file-size=1M`)
	b.want(t, `/disk print detail proplist=slot,file-path,file-size where type=file`, strings.Join([]string{
		"Flags: B - BLOCK-DEVICE",
		` 1 B slot="pvc-ccdecfad-a8bf-572e-9120-464c4d99f12f"`,
		`               file-path=/raid10/metal-csi/pvc-ccdecfad-a8bf-572e-9120-464c4d99f`,
		`               12f.img file-size=1024.0KiB`, "",
	}, "\r\n"))
}
