package fence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"syscall"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// service is the name under which the other guest serves Machine.
const service = "Machine"

// TestMain has the second guest of a pair be node B, until it is switched off, and the first one run the tests.
func TestMain(m *testing.M) {
	address := os.Getenv("RDS_CSI_GUEST_SERVE")
	if address == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintf(os.Stderr, "node B ended: %v\n", serve(address))
	os.Exit(1)
}

func serve(address string) error {
	server := rpc.NewServer()
	if err := server.RegisterName(service, Machine{}); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	server.Accept(listener)
	return errors.New("nobody can connect any more")
}

// other is node B as the first guest knows it.
type other struct {
	client *rpc.Client
	// target is where B reaches the first guest's target.
	target string
}

func dialOther(t *testing.T) *other {
	t.Helper()
	address, own := os.Getenv("RDS_CSI_GUEST_OTHER"), os.Getenv("RDS_CSI_GUEST_ADDRESS")
	if address == "" {
		t.Fatal("node B is missing: this package needs a pair of guests, see the target guest-fence of make guest")
	}
	o := &other{target: net.JoinHostPort(own, "4420")}
	dialer := net.Dialer{Timeout: time.Second}
	world.Eventually(t, "node B answers", func() bool {
		connection, err := dialer.DialContext(t.Context(), "tcp", address)
		if err == nil {
			o.client = rpc.NewClient(connection)
			t.Cleanup(func() { _ = o.client.Close() })
		}
		return err == nil
	})
	return o
}

// ask has node B do something, and waits for it.
func (o *other) ask(t *testing.T, method string, order Order) []byte {
	t.Helper()
	var reply []byte
	order.Target = o.target
	call := o.client.Go(service+"."+method, order, &reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
	case <-time.After(2 * world.Patience):
		t.Fatalf("node B: %s: no answer", method)
	}
	if call.Error != nil {
		t.Fatalf("node B: %s: %v", method, call.Error)
	}
	return reply
}

// Order is what node B is asked to do with a volume.
type Order struct {
	Target, NQN string
	// Content is to be written to the beginning, Length how much is to be read from there, in bytes; whole blocks.
	Content []byte
	Length  int
}

// Machine is what node B does, in the second guest.
type Machine struct{}

// Write connects, as the volume's holder, and writes past the page cache. The connection stays.
func (Machine) Write(order Order, _ *[]byte) error {
	return order.onDevice(len(order.Content), os.O_WRONLY|syscall.O_SYNC, func(device *os.File, memory []byte) error {
		copy(memory, order.Content)
		_, err := device.Write(memory)
		return err
	})
}

// Read connects anew, as a pod that was started again makes its node do, reads, and disconnects.
func (Machine) Read(order Order, content *[]byte) error {
	world.DisconnectAll(order.NQN)
	defer world.DisconnectAll(order.NQN)
	return order.onDevice(order.Length, os.O_RDONLY, func(device *os.File, memory []byte) error {
		_, err := io.ReadFull(device, memory)
		*content = append(*content, memory...)
		return err
	})
}

// onDevice connects and has the device used with memory that the kernel takes for direct I/O.
func (o Order) onDevice(length, flags int, use func(*os.File, []byte) error) (err error) {
	if _, err := world.ConnectTo(o.Target, o.NQN, nvme.HostOf("machine-b"), "reconnect_delay=1", "ctrl_loss_tmo=-1"); err != nil {
		return fmt.Errorf("connect to %s: %w", o.NQN, err)
	}
	for deadline := time.Now().Add(world.Patience); world.Device(o.NQN) == ""; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("no device of %s came", o.NQN)
		}
	}
	memory, err := syscall.Mmap(-1, 0, length, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("map memory: %w", err)
	}
	defer func() { err = errors.Join(err, syscall.Munmap(memory)) }()
	device, err := os.OpenFile(world.Device(o.NQN), flags|syscall.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	return use(device, memory)
}
