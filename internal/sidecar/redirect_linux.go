package sidecar

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tableName is the one table that is touched. It is this package's own.
const tableName = "lanyard_proxy"

// priority is just before that of other address translations, a service mesh's
// for one: the first that claims a connection has it.
const priority = -101

// Install puts the redirect in place, in the network namespace of the calling
// process, in one transaction with the removal of the one before: running it again
// changes nothing, and no other table is read or written. It needs the capability
// NET_ADMIN, and of the kernel nf_tables.
func (r Redirect) Install() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("the redirect: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName}
	conn.AddTable(table) // so that there is one to remove
	conn.DelTable(table)
	conn.AddTable(table)
	chain := conn.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRef(priority),
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(r.match(), r.exception()...)})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(r.match(), r.redirection()...)})
	if err := conn.Flush(); err != nil {
		switch {
		case errors.Is(err, unix.EPERM):
			return fmt.Errorf("the redirect: the capability NET_ADMIN is missing: %w", err)
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EPROTONOSUPPORT):
			return fmt.Errorf("the redirect: the node's kernel lacks nf_tables or its address translation (modules nf_tables, nft_chain_nat, nft_redir): %w", err)
		}
		return fmt.Errorf("the redirect: %w", err)
	}
	return nil
}

// match holds for TCP connections to the metadata service.
func (r Redirect) match() []expr.Any {
	address := r.Metadata.Addr().As4()
	const destination, destinationPort = 16, 2 // offsets in the headers of IPv4 and TCP
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: destination, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: address[:]},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: destinationPort, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, r.Metadata.Port())},
	}
}

// exception leaves the proxy's own connections as they are.
func (r Redirect) exception() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(r.ExceptUID)},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}
}

// redirection leads all others to the proxy, on this machine.
func (r Redirect) redirection() []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, r.Port)},
		&expr.Redir{RegisterProtoMin: 1},
	}
}
