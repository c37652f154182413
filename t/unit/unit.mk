# Unit tests of the pure files, and the tools made of them.  They are built
# against nginx's headers and a small stand-in for its pool and string
# functions (t/unit/ngx_stub.c), with sanitizers.

PURE_INC  = -I$(NGX)/src/core -I$(NGX)/src/event -I$(NGX)/src/os/unix \
            -I$(NGX)/objs -Ingx_unit_module -It/unit
PURE_HDR  = $(wildcard ngx_unit_module/*.h t/unit/*.h)
PURE_WARN = $(WARN) -Wno-error=format-truncation
SAN       = -fsanitize=address,undefined -fno-sanitize-recover=all \
            -fno-omit-frame-pointer
