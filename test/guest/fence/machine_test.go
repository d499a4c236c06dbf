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

// service is the name under which a guest serves Machine.
const service = "Machine"

// TestMain has the second guest of a pair do what it is told, until it is switched off, and the first one run the tests.
func TestMain(m *testing.M) {
	address := os.Getenv("RDS_CSI_GUEST_SERVE")
	if world.InGuest() {
		hurry()
	}
	if address == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintf(os.Stderr, "the other machine ended: %v\n", serve(address))
	os.Exit(1)
}

// hurry has the kernel's initiator wait for 10 s instead of 60 s for the answer to a command that isn't one of I/O: a target
// never answers that is taken away while somebody connects, and a reset lasts until then.
func hurry() {
	const timeout = "/sys/module/nvme_core/parameters/admin_timeout"
	if err := os.WriteFile(timeout, []byte("10"), 0o600); err != nil {
		fmt.Fprintf(os.Stderr, "the kernel is as patient as ever: %v\n", err)
	}
}

func serve(address string) error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	newServer().Accept(listener)
	return errors.New("nobody can connect any more")
}

func newServer() *rpc.Server {
	server := rpc.NewServer()
	if err := server.RegisterName(service, &Machine{}); err != nil {
		panic(err) // Machine's methods aren't what net/rpc takes
	}
	return server
}

// machine is one of the two guests as the test knows it.
type machine struct {
	client *rpc.Client
	// target is where the machine reaches the first guest's target.
	target string
}

func thisMachine(t *testing.T) *machine {
	t.Helper()
	near, far := net.Pipe()
	go newServer().ServeConn(far)
	client := rpc.NewClient(near)
	t.Cleanup(func() { _ = client.Close() })
	return &machine{client: client, target: world.Target}
}

func otherMachine(t *testing.T) *machine {
	t.Helper()
	address, own := os.Getenv("RDS_CSI_GUEST_OTHER"), os.Getenv("RDS_CSI_GUEST_ADDRESS")
	if address == "" {
		t.Fatal("the other machine is missing: this package needs a pair of guests, see the target guest-fence of make guest")
	}
	m := &machine{target: net.JoinHostPort(own, "4420")}
	dialer := net.Dialer{Timeout: time.Second}
	world.Eventually(t, "the other machine answers", func() bool {
		connection, err := dialer.DialContext(t.Context(), "tcp", address)
		if err == nil {
			m.client = rpc.NewClient(connection)
			t.Cleanup(func() { _ = m.client.Close() })
		}
		return err == nil
	})
	return m
}

// ask has the machine do something, and waits for it.
func (m *machine) ask(t *testing.T, method string, order Order) Reply {
	t.Helper()
	return m.wait(t, m.start(method, order))
}

func (m *machine) start(method string, order Order) *rpc.Call {
	order.Target = m.target
	return m.client.Go(service+"."+method, order, &Reply{}, make(chan *rpc.Call, 1))
}

func (m *machine) wait(t *testing.T, call *rpc.Call) Reply {
	t.Helper()
	select {
	case <-call.Done:
	case <-time.After(4 * world.Patience): // it may itself have to wait, more than once
		t.Fatalf("%s: no answer", call.ServiceMethod)
	}
	if call.Error != nil {
		t.Fatalf("%s: %v", call.ServiceMethod, call.Error)
	}
	return *call.Reply.(*Reply)
}

// Order is what a machine is asked to do with a volume.
type Order struct {
	Target, NQN string
	// Options are more of node A's connection. Writers is how many writes it has under way at once, Size that of each.
	Options       []string
	Writers, Size int
	// Number limits what node A is asked about to the writes that it began by then.
	Number uint64
	// Content is what node B is to write to the beginning, Length how much it is to read from there, in bytes; whole blocks.
	Content []byte
	Length  int
}

// Reply is what a machine answers.
type Reply struct {
	// Standing is how node A stands, Memory where its counts are in the machine's memory.
	Standing Standing
	Memory   uint64
	// Content is what node B read.
	Content []byte
}

// Machine is what a guest does, as node A and as node B. Who asks waits for the answer before he asks again.
type Machine struct {
	writers    *writers
	controller string // A's
}

// Attack connects, as the volume's old holder, and writes until End.
func (m *Machine) Attack(order Order, reply *Reply) (err error) {
	if m.controller, err = order.connect("machine-a"); err != nil {
		return err
	}
	if m.writers, err = startWriters(order.NQN, order.Writers, order.Size); err != nil {
		return err
	}
	reply.Memory, err = m.writers.memory()
	return err
}

// Stand tells what became of node A's writes.
func (m *Machine) Stand(order Order, reply *Reply) error {
	reply.Standing = m.writers.standing(order.Number)
	reply.Standing.State = world.State(m.controller)
	return nil
}

// Reset has the kernel make node A's connection anew.
func (m *Machine) Reset(order Order, _ *Reply) error {
	for _, controller := range world.Controllers(order.NQN) {
		world.Reset(controller)
	}
	return nil
}

// End stops what Attack began.
func (m *Machine) End(order Order, _ *Reply) error {
	if m.writers == nil {
		world.DisconnectAll(order.NQN)
		return nil
	}
	err := m.writers.end()
	m.writers = nil
	return err
}

// Write connects, as the volume's new holder, and writes past the page cache. The connection stays.
func (m *Machine) Write(order Order, _ *Reply) error {
	return order.onDevice(len(order.Content), os.O_WRONLY|syscall.O_SYNC, func(device *os.File, memory []byte) error {
		copy(memory, order.Content)
		_, err := device.Write(memory)
		return err
	})
}

// Read connects anew, as a pod that was started again makes its node do, reads, and disconnects.
func (m *Machine) Read(order Order, reply *Reply) error {
	world.DisconnectAll(order.NQN)
	defer world.DisconnectAll(order.NQN)
	return order.onDevice(order.Length, os.O_RDONLY, func(device *os.File, memory []byte) error {
		_, err := io.ReadFull(device, memory)
		reply.Content = append(reply.Content, memory...)
		return err
	})
}

// connect connects as that machine for ever, and waits for the device.
func (o Order) connect(name string) (controller string, err error) {
	options := append([]string{"reconnect_delay=1", "ctrl_loss_tmo=-1"}, o.Options...)
	if controller, err = world.ConnectTo(o.Target, o.NQN, nvme.HostOf(name), options...); err != nil {
		return "", fmt.Errorf("connect to %s: %w", o.NQN, err)
	}
	for deadline := time.Now().Add(world.Patience); world.Device(o.NQN) == ""; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return "", fmt.Errorf("no device of %s came", o.NQN)
		}
	}
	return controller, nil
}

// onDevice connects as node B and has the device used with memory that the kernel takes for direct I/O.
func (o Order) onDevice(length, flags int, use func(*os.File, []byte) error) (err error) {
	if _, err := o.connect("machine-b"); err != nil {
		return err
	}
	memory, err := mapped(length)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, syscall.Munmap(memory)) }()
	device, err := os.OpenFile(world.Device(o.NQN), flags|syscall.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	return use(device, memory)
}

// mapped gives memory that begins with a page: the kernel wants it so for direct I/O.
func mapped(length int) ([]byte, error) {
	memory, err := syscall.Mmap(-1, 0, length, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_LOCKED)
	if err != nil {
		return nil, fmt.Errorf("map memory: %w", err)
	}
	return memory, nil
}
