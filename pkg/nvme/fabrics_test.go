package nvme

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// No part of a target can add an option: each one is there once, and only those that were asked for.
func FuzzConnectOptions(f *testing.F) {
	f.Add(volume, "192.0.2.10", uint16(4420), "machine-a", int64(0), 0)
	f.Add("nqn.a,nr_io_queues=1", "fe80::1%eth0", uint16(0), "x", int64(-1), -1)
	f.Add("nqn.a\nnqn=b", "::ffff:192.0.2.1", uint16(1), "", int64(1e18), 1<<40)
	f.Fuzz(func(t *testing.T, nqn, address string, port uint16, machine string, delay int64, queues int) {
		ip, err := netip.ParseAddr(address)
		if err != nil {
			return
		}
		target := Target{SubsystemNQN: nqn, Port: port, Options: Options{ReconnectDelay: time.Duration(delay), IOQueues: queues, HeaderDigest: true}}
		text, err := connectOptions(target, ip, HostOf(machine))
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("got %v, want ErrInvalid", err)
			}
			return
		}
		var names []string
		for word := range strings.SplitSeq(text, ",") {
			name, value, _ := strings.Cut(word, "=")
			if strings.ContainsAny(value, " \t\r\n=,") {
				t.Errorf("%q in %q", word, text)
			}
			names = append(names, name)
		}
		allowed := []string{"nqn", "transport", "traddr", "trsvcid", "hostnqn", "hostid", "ctrl_loss_tmo", "reconnect_delay", "fast_io_fail_tmo", "nr_io_queues", "hdr_digest"}
		for i, name := range names {
			if !slices.Contains(allowed, name) || slices.Contains(names[:i], name) {
				t.Errorf("option %q of %q wasn't asked for", name, text)
			}
		}
		if len(text) > 4096 {
			t.Errorf("%d bytes: more than the kernel reads", len(text))
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add("instance=0,cntlid=1\n")
	f.Add("instance=-1,cntlid=1")
	f.Add("instance=0,cntlid=1,more")
	f.Fuzz(func(t *testing.T, reply string) {
		name, err := parseReply(reply)
		if err == nil && (!controllerName.MatchString(name) || !strings.HasPrefix(reply, "instance="+strings.TrimPrefix(name, "nvme")+",")) {
			t.Errorf("%q gives %q", reply, name)
		}
	})
}

func TestOptionsAsTheKernelSpellsThem(t *testing.T) {
	all := Options{
		CtrlLossTimeout: time.Minute, ReconnectDelay: 3 * time.Second, FastIOFailTimeout: 0, KeepAliveTimeout: 4 * time.Second,
		IOQueues: 5, QueueSize: 64, HeaderDigest: true, DataDigest: true,
	}
	want := "ctrl_loss_tmo=60,reconnect_delay=3,fast_io_fail_tmo=0,keep_alive_tmo=4,nr_io_queues=5,queue_size=64,hdr_digest,data_digest"
	if got := strings.Join(all.connectOptions(), ","); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Each of these alone is refused, and what lies just within the bounds isn't.
func TestWhatCannotBeWrittenAsOptions(t *testing.T) {
	good := HostOf("machine-a")
	longest := "nqn." + strings.Repeat("n", 219)
	for name, c := range map[string]struct {
		nqn, address string
		port         uint16
		host         HostIdentity
		valid        bool
	}{
		"all well":            {volume, "192.0.2.10", 4420, good, true},
		"the longest NQN":     {longest, "192.0.2.10", 4420, good, true},
		"a longer NQN":        {longest + "n", "192.0.2.10", 4420, good, false},
		"the shortest NQN":    {"nqn.n", "192.0.2.10", 4420, good, true},
		"an empty NQN":        {"nqn.", "192.0.2.10", 4420, good, false},
		"a comma in the NQN":  {volume + ",a", "192.0.2.10", 4420, good, false},
		"a line end":          {volume + "\n", "192.0.2.10", 4420, good, false},
		"the last port":       {volume, "192.0.2.10", 65535, good, true},
		"no port":             {volume, "192.0.2.10", 0, good, false},
		"IPv6":                {volume, "2001:db8::1", 4420, good, true},
		"IPv6 with a zone":    {volume, "fe80::1%eth0", 4420, good, false},
		"a host without NQN":  {volume, "192.0.2.10", 4420, HostIdentity{ID: good.ID}, false},
		"a host without ID":   {volume, "192.0.2.10", 4420, HostIdentity{NQN: good.NQN}, false},
		"an ID in upper case": {volume, "192.0.2.10", 4420, HostIdentity{NQN: good.NQN, ID: strings.ToUpper(good.ID)}, false},
	} {
		_, err := connectOptions(Target{SubsystemNQN: c.nqn, Port: c.port, Options: DefaultOptions()}, netip.MustParseAddr(c.address), c.host)
		if (err == nil) != c.valid || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want it accepted: %t", name, err, c.valid)
		}
	}
	if _, err := connectOptions(targetOf(volume), netip.Addr{}, good); !errors.Is(err, ErrInvalid) {
		t.Errorf("no address: got %v, want ErrInvalid", err)
	}
}
