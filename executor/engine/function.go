package engine

/*
#include <stdint.h>
#include <stdlib.h>

void tidemillCallFunction(void *, void *, void *);
*/
import "C"

import (
	"fmt"
	"reflect"
	"runtime/cgo"
	"unsafe"

	duckdb "github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"
)

// Function is a scalar function of ours that SQL of the session can call. The engine calls it for whole vectors of rows,
// some 2,000 at a time, in any order and from several threads at once: the driver's own functions take one row at a
// time, and cost more than what we compute.
type Function struct {
	Name       string
	Parameters []Type
	Result     Type
	// Call sets out's element for each row from those of in, of which any may be NULL. What it is given is only good until
	// it returns.
	Call func(rows int, in []Vector, out Vector) error
}

// Type is a type of parameters and results.
type Type int

// Types, by the engine's names.
const (
	BigInt    Type = iota // int64
	UInteger              // uint32
	UBigInt               // uint64
	UHugeInt              // two uint64, the lower half first
	Double                // float64
	Varchar               // bytes, UTF-8
	Blob                  // bytes
	UIntegers             // lists of the same
	UBigInts
	UHugeInts
	Doubles
	Varchars
	BigInts
	Blobs
)

var logicalTypes = map[Type]mapping.Type{
	BigInt: mapping.TypeBigInt, UInteger: mapping.TypeUInteger, UBigInt: mapping.TypeUBigInt, UHugeInt: mapping.TypeUHugeInt,
	Double: mapping.TypeDouble, Varchar: mapping.TypeVarchar, Blob: mapping.TypeBlob,
}

var elements = map[Type]Type{UIntegers: UInteger, UBigInts: UBigInt, UHugeInts: UHugeInt, Doubles: Double, Varchars: Varchar, BigInts: BigInt, Blobs: Blob}

func (t Type) logical() mapping.LogicalType {
	element, isList := elements[t]
	if !isList {
		return mapping.CreateLogicalType(logicalTypes[t])
	}
	one := element.logical()
	defer mapping.DestroyLogicalType(&one)
	return mapping.CreateListType(one)
}

// Register makes functions known to the session, which keeps them until it is closed.
func (s *Session) Register(functions ...Function) error {
	connection, err := handle(s.conn)
	if err != nil {
		return err
	}
	for _, f := range functions {
		s.functions = append(s.functions, newFunctionHandle(f))
		if !register(connection, f, s.functions[len(s.functions)-1]) {
			return fmt.Errorf("register function %q: the engine refuses it", f.Name)
		}
	}
	return nil
}

func register(connection mapping.Connection, f Function, h *functionHandle) bool {
	function := mapping.CreateScalarFunction()
	defer mapping.DestroyScalarFunction(&function)
	mapping.ScalarFunctionSetName(function, f.Name)
	for _, parameter := range f.Parameters {
		logical := parameter.logical()
		mapping.ScalarFunctionAddParameter(function, logical)
		mapping.DestroyLogicalType(&logical)
	}
	result := f.Result.logical()
	defer mapping.DestroyLogicalType(&result)
	mapping.ScalarFunctionSetReturnType(function, result)
	mapping.ScalarFunctionSetSpecialHandling(function)
	mapping.ScalarFunctionSetExtraInfo(function, h.memory, nil)
	mapping.ScalarFunctionSetFunction(function, C.tidemillCallFunction)
	return mapping.RegisterScalarFunction(connection, function) != mapping.StateError
}

// handle is the driver's connection as its own bindings know it. The driver has no way to ask for it.
func handle(conn any) (mapping.Connection, error) {
	c, ok := conn.(*duckdb.Conn)
	if !ok {
		return mapping.Connection{}, fmt.Errorf("register functions: the connection is a %T", conn)
	}
	field := reflect.ValueOf(c).Elem().FieldByName("conn")
	if !field.IsValid() || field.Type() != reflect.TypeFor[mapping.Connection]() {
		return mapping.Connection{}, fmt.Errorf("register functions: the driver's connection has no handle")
	}
	return mapping.Connection{Ptr: field.FieldByName("Ptr").UnsafePointer()}, nil
}

// functionHandle leads from the engine's memory to a function.
type functionHandle struct {
	memory unsafe.Pointer // holds the handle
	handle cgo.Handle
}

func newFunctionHandle(f Function) *functionHandle {
	h := &functionHandle{memory: C.malloc(C.size_t(unsafe.Sizeof(C.uintptr_t(0)))), handle: cgo.NewHandle(f)}
	*(*C.uintptr_t)(h.memory) = C.uintptr_t(h.handle)
	return h
}

func (h *functionHandle) free() {
	h.handle.Delete()
	C.free(h.memory)
}

//export tidemillCallFunction
func tidemillCallFunction(infoPtr, inputPtr, outputPtr unsafe.Pointer) {
	info, input := mapping.FunctionInfo{Ptr: infoPtr}, mapping.DataChunk{Ptr: inputPtr}
	h := cgo.Handle(*(*C.uintptr_t)(mapping.ScalarFunctionGetExtraInfo(info)))
	f, ok := h.Value().(Function)
	if !ok {
		mapping.ScalarFunctionSetError(info, "call function: it is gone")
		return
	}
	rows := int(mapping.DataChunkGetSize(input))
	in := make([]Vector, len(f.Parameters))
	for i := range in {
		in[i] = newVector(mapping.DataChunkGetVector(input, mapping.IdxT(i)), rows)
	}
	if err := f.call(rows, in, newVector(mapping.Vector{Ptr: outputPtr}, rows)); err != nil {
		mapping.ScalarFunctionSetError(info, err.Error())
	}
}

// call keeps a panic from reaching the engine, which would end the process.
func (f Function) call(rows int, in []Vector, out Vector) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("call function %q: %v", f.Name, r)
		}
	}()
	return f.Call(rows, in, out)
}
