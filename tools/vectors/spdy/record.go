// A session of the Go library behind kubectl and kubelet, for tests/vectors/spdy-go-client.bin.
//
//	record client|server SOCKET FILE
//
// The client opens four streams on the unix socket, sends 5, 0, 300 and 20 bytes, wants them back, resets a fifth
// and ends; the server echoes every stream. What this side writes goes to FILE. Build it with Debian's golang and
// golang-github-docker-spdystream-dev (GO111MODULE=off GOPATH=/usr/share/gocode).
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/docker/spdystream"
)

type recorder struct {
	net.Conn
	file *os.File
	lock sync.Mutex
}

func (r *recorder) Write(b []byte) (int, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.file.Write(b)
	return r.Conn.Write(b)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func client(c net.Conn) {
	conn, err := spdystream.NewConnection(c, false)
	must(err)
	go conn.Serve(spdystream.NoOpStreamHandler)
	_, err = conn.Ping()
	must(err)
	for i, size := range []int{5, 0, 300, 20} {
		h := http.Header{}
		h.Set("streamType", []string{"error", "stdin", "stdout", "resize"}[i])
		h.Add("X-Multi", "a")
		h.Add("X-Multi", "b")
		st, err := conn.CreateStream(h, nil, false)
		must(err)
		must(st.WaitTimeout(5 * time.Second))
		data := bytes.Repeat([]byte("x"), size)
		go func() {
			st.Write(data)
			st.Close()
		}()
		got, err := io.ReadAll(st)
		must(err)
		if !bytes.Equal(got, data) {
			panic(fmt.Sprint("echo differs: ", len(got), " bytes for ", len(data)))
		}
	}
	h := http.Header{}
	h.Set("streamType", "reset")
	st, err := conn.CreateStream(h, nil, false)
	must(err)
	must(st.WaitTimeout(5 * time.Second))
	must(st.Reset())
	must(conn.Close())
}

func server(c net.Conn) {
	conn, err := spdystream.NewConnection(c, true)
	must(err)
	conn.Serve(func(st *spdystream.Stream) {
		h := http.Header{}
		h.Set("got", st.Headers().Get("streamtype"))
		st.SendReply(h, false)
		go func() {
			io.Copy(st, st)
			st.Close()
		}()
	})
}

func main() {
	c, err := net.Dial("unix", os.Args[2])
	must(err)
	file, err := os.Create(os.Args[3])
	must(err)
	if os.Args[1] == "client" {
		client(&recorder{Conn: c, file: file})
	} else {
		server(&recorder{Conn: c, file: file})
	}
}
