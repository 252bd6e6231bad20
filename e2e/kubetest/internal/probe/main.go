// Command probe is what the tests of kubetest run in pods.
//
//	probe serve ADDRESS    answers every request with its own host name and the caller's address
//	probe get URL          prints the answer
//	probe lookup NAME      prints the name's addresses
//	probe cat FILE         prints the file
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: probe serve ADDRESS | get URL | lookup NAME | cat FILE")
	}
	switch what := args[1]; args[0] {
	case "serve":
		return serve(what)
	case "get":
		return get(ctx, what)
	case "lookup":
		addresses, err := net.DefaultResolver.LookupHost(ctx, what)
		fmt.Println(strings.Join(addresses, " "))
		return err
	case "cat":
		raw, err := os.ReadFile(what)
		fmt.Print(string(raw))
		return err
	}
	return fmt.Errorf("no such command: %s", args[0])
}

func serve(address string) error {
	server := &http.Server{Addr: address, ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _ := os.Hostname()
		caller, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s %s\n", name, caller)
	})}
	fmt.Println("serving on", address)
	return server.ListenAndServe()
}

func get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}
