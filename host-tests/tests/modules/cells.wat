;; Counts in shared data: each request adds one to the record `cell`, by the method in its configuration:
;; `s`  get, then set with cas 0 if it is missing: loses updates on Envoy
;; `p`  the portable creation: cas u32::MAX first, cas 0 only if that mismatches and the key is still missing
(module
  (import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))

  (memory (export "memory") 2)
  (global $strategy (mut i32) (i32.const 0))
  ;; 64, 68, 72: pointer, size and cas from the host. 80: the new value. 96: the key.
  (data (i32.const 96) "cell")

  (func (export "proxy_abi_version_0_2_1"))
  ;; One value at a time is enough.
  (func (export "malloc") (param $size i32) (result i32) (i32.const 1024))

  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $get_buffer (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 64) (i32.const 68)))
    (global.set $strategy (i32.load8_u (i32.load (i32.const 64))))
    (i32.const 1))

  (func $read (result i32)
    (call $get (i32.const 96) (i32.const 4) (i32.const 64) (i32.const 68) (i32.const 72)))
  (func $write (param $value i32) (param $cas i32) (result i32)
    (i32.store (i32.const 80) (local.get $value))
    (call $set (i32.const 96) (i32.const 4) (i32.const 80) (i32.const 4) (local.get $cas)))

  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (loop $again
      (if (i32.eqz (call $read))
        (then
          (br_if $again (call $write
            (i32.add (i32.load (i32.load (i32.const 64))) (i32.const 1)) (i32.load (i32.const 72)))))
        (else
          (if (i32.eq (global.get $strategy) (i32.const 115))
            (then (br_if $again (call $write (i32.const 1) (i32.const 0))))
            (else
              (if (call $write (i32.const 1) (i32.const -1))
                (then
                  ;; Lost, or a strict host: the number 0 inserts only where nothing is.
                  (br_if $again (i32.eqz (call $read)))
                  (br_if $again (call $write (i32.const 1) (i32.const 0))))))))))
    (i32.const 0)))
