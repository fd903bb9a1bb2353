;; A filter with one letter of its configuration for the action of each callback:
;;
;;   0 request headers    1 request body    2 request trailers
;;   3 response headers   4 response body   5 response trailers
;;   6 log   7 done   8 tick   9 callout response   10 vm start   11 configure
;;
;;   c  continue                               p  pause
;;   P  pause until the end of the stream      t  trap
;;   r  local reply 403 `no`, pause            R  the same twice
;;   w  replace the whole body by `WHOLE`      e  replace it by nothing
;;   a  append `+tail`                         f  replace the first 2 bytes by `<<`
;;   m  try to replace a range in the middle   h  set the headers `x-in: request`, `x-out: response`
;;   v  read the headers, and log one          d  dispatch an HTTP call to `etcd`, pause
;;   k  continue the request, and pause        x  close the stream, pause
;;   s  set the property `team` to `blue`      n  return false
;;   b  log the body that can be read          T  set a tick period of 250 ms
;;
;; It logs every callback as `name context argument end`.
(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $set_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_http_call" (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
  (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
  (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $ticks (param i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))

  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 65536))
  ;; The stream that dispatched last.
  (global $waiting (mut i32) (i32.const 0))

  ;; 0: the configuration. 64, 68: where the host writes pointers and sizes. 128: the line that is being written.
  (data (i32.const 256) "no") (data (i32.const 260) "WHOLE") (data (i32.const 268) "+tail") (data (i32.const 276) "<<")
  (data (i32.const 280) "x-in") (data (i32.const 288) "request") (data (i32.const 296) "x-out") (data (i32.const 304) "response")
  (data (i32.const 320) "etcd") (data (i32.const 328) "team") (data (i32.const 336) "blue")
  (data (i32.const 352) "header ") (data (i32.const 364) "body ") (data (i32.const 372) "status ")
  ;; :method POST, :path /, :authority e
  (data (i32.const 384) "\03\00\00\00\07\00\00\00\04\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00POST\00:path\00/\00:authority\00e\00")
  (data (i32.const 512) "request_headers") (data (i32.const 528) "request_body") (data (i32.const 544) "request_trailers")
  (data (i32.const 560) "response_headers") (data (i32.const 576) "response_body") (data (i32.const 592) "response_trailers")
  (data (i32.const 610) "log") (data (i32.const 624) "done") (data (i32.const 640) "tick") (data (i32.const 656) "callout")
  (data (i32.const 672) "vm_start") (data (i32.const 688) "configure") (data (i32.const 704) "create") (data (i32.const 720) "delete")

  (func (export "proxy_abi_version_0_2_1"))

  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.add (global.get $free) (local.get $size)))
    (local.get $at))

  ;; Appends bytes, and a number, to the line at 128; both return its new end.
  (func $text (param $end i32) (param $at i32) (param $size i32) (result i32)
    (memory.copy (local.get $end) (local.get $at) (local.get $size))
    (i32.add (local.get $end) (local.get $size)))
  (func $number (param $end i32) (param $number i32) (result i32)
    (if (i32.ge_u (local.get $number) (i32.const 10))
      (then (local.set $end (call $number (local.get $end) (i32.div_u (local.get $number) (i32.const 10))))))
    (i32.store8 (local.get $end) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
    (i32.add (local.get $end) (i32.const 1)))
  (func $space (param $end i32) (result i32)
    (i32.store8 (local.get $end) (i32.const 32))
    (i32.add (local.get $end) (i32.const 1)))
  (func $line (param $end i32)
    (drop (call $log (i32.const 2) (i32.const 128) (i32.sub (local.get $end) (i32.const 128)))))
  (func $event (param $name i32) (param $size i32) (param $context i32) (param $argument i32) (param $ended i32)
    (local $end i32)
    (local.set $end (call $text (i32.const 128) (local.get $name) (local.get $size)))
    (local.set $end (call $number (call $space (local.get $end)) (local.get $context)))
    (local.set $end (call $number (call $space (local.get $end)) (local.get $argument)))
    (call $line (call $number (call $space (local.get $end)) (local.get $ended))))
  ;; Logs a word of 7 bytes or less and the bytes that the host gave.
  (func $given (param $word i32) (param $size i32)
    (call $line (call $text (call $text (i32.const 128) (local.get $word) (local.get $size))
      (i32.load (i32.const 64)) (i32.load (i32.const 68)))))

  (func $refuse
    (drop (call $reply (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 256) (i32.const 2)
      (i32.const 0) (i32.const 0) (i32.const -1))))
  (func $edit (param $buffer i32) (param $start i32) (param $size i32) (param $at i32) (param $length i32)
    (call $line (call $number (call $text (i32.const 128) (i32.const 372) (i32.const 7))
      (call $set_buffer (local.get $buffer) (local.get $start) (local.get $size) (local.get $at) (local.get $length)))))

  ;; Does what the configuration says for a callback, and returns 0 to go on, 1 to pause.
  (func $act (param $callback i32) (param $context i32) (param $ended i32) (result i32)
    (local $letter i32) (local $buffer i32) (local $map i32)
    (local.set $letter (i32.load8_u (local.get $callback)))
    (local.set $buffer (i32.ge_u (local.get $callback) (i32.const 3)))
    (local.set $map (i32.mul (local.get $buffer) (i32.const 2)))
    (i32.store (i32.const 64) (i32.const 0))
    (i32.store (i32.const 68) (i32.const 0))
    (if (i32.eq (local.get $letter) (i32.const 112)) (then (return (i32.const 1)))) ;; p
    (if (i32.eq (local.get $letter) (i32.const 80)) (then (return (i32.eqz (local.get $ended))))) ;; P
    (if (i32.eq (local.get $letter) (i32.const 116)) (then unreachable)) ;; t
    (if (i32.eq (local.get $letter) (i32.const 114)) (then (call $refuse) (return (i32.const 1)))) ;; r
    (if (i32.eq (local.get $letter) (i32.const 82)) (then (call $refuse) (call $refuse) (return (i32.const 1)))) ;; R
    (if (i32.eq (local.get $letter) (i32.const 119)) (then
      (call $edit (local.get $buffer) (i32.const 0) (i32.const -1) (i32.const 260) (i32.const 5)))) ;; w
    (if (i32.eq (local.get $letter) (i32.const 101)) (then
      (call $edit (local.get $buffer) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0)))) ;; e
    (if (i32.eq (local.get $letter) (i32.const 97)) (then
      (call $edit (local.get $buffer) (i32.const -1) (i32.const 0) (i32.const 268) (i32.const 5)))) ;; a
    (if (i32.eq (local.get $letter) (i32.const 102)) (then
      (call $edit (local.get $buffer) (i32.const 0) (i32.const 2) (i32.const 276) (i32.const 2)))) ;; f
    (if (i32.eq (local.get $letter) (i32.const 109)) (then
      (call $edit (local.get $buffer) (i32.const 1) (i32.const 1) (i32.const 276) (i32.const 2)))) ;; m
    (if (i32.eq (local.get $letter) (i32.const 104)) (then ;; h
      (drop (call $set_header (i32.const 0) (i32.const 280) (i32.const 4) (i32.const 288) (i32.const 7)))
      (drop (call $set_header (i32.const 2) (i32.const 296) (i32.const 5) (i32.const 304) (i32.const 8)))))
    (if (i32.eq (local.get $letter) (i32.const 118)) (then ;; v
      (call $line (call $number (call $text (i32.const 128) (i32.const 372) (i32.const 7))
        (call $header (i32.const 0) (i32.const 280) (i32.const 4) (i32.const 64) (i32.const 68))))
      (call $given (i32.const 352) (i32.const 7))))
    (if (i32.eq (local.get $letter) (i32.const 98)) (then ;; b
      (drop (call $get_buffer (local.get $buffer) (i32.const 0) (i32.const -1) (i32.const 64) (i32.const 68)))
      (call $given (i32.const 364) (i32.const 5))))
    (if (i32.eq (local.get $letter) (i32.const 100)) (then ;; d
      (global.set $waiting (local.get $context))
      (call $line (call $number (call $text (i32.const 128) (i32.const 372) (i32.const 7))
        (call $http_call (i32.const 320) (i32.const 4) (i32.const 384) (i32.const 62) (i32.const 256) (i32.const 2)
          (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 64))))
      (return (i32.const 1))))
    (if (i32.eq (local.get $letter) (i32.const 107)) (then
      (drop (call $continue (i32.const 0))) (return (i32.const 1)))) ;; k
    (if (i32.eq (local.get $letter) (i32.const 120)) (then
      (drop (call $close (local.get $buffer))) (return (i32.const 1)))) ;; x
    (if (i32.eq (local.get $letter) (i32.const 115)) (then
      (drop (call $set_property (i32.const 328) (i32.const 4) (i32.const 336) (i32.const 4))))) ;; s
    (if (i32.eq (local.get $letter) (i32.const 84)) (then
      (call $line (call $number (call $text (i32.const 128) (i32.const 372) (i32.const 7)) (call $ticks (i32.const 250)))))) ;; T
    (i32.const 0))

  (func (export "proxy_on_context_create") (param $context i32) (param $root i32)
    (call $event (i32.const 704) (i32.const 6) (local.get $context) (local.get $root) (i32.const 0)))
  (func (export "proxy_on_vm_start") (param $context i32) (param $size i32) (result i32)
    (call $event (i32.const 672) (i32.const 8) (local.get $context) (local.get $size) (i32.const 0))
    (i32.const 1))
  (func (export "proxy_on_configure") (param $context i32) (param $size i32) (result i32)
    (call $event (i32.const 688) (i32.const 9) (local.get $context) (local.get $size) (i32.const 0))
    (drop (call $get_buffer (i32.const 7) (i32.const 0) (i32.const 12) (i32.const 64) (i32.const 68)))
    (memory.copy (i32.const 0) (i32.load (i32.const 64)) (i32.load (i32.const 68)))
    (drop (call $act (i32.const 11) (local.get $context) (i32.const 1)))
    (i32.ne (i32.load8_u (i32.const 11)) (i32.const 110)))
  (func (export "proxy_on_request_headers") (param $context i32) (param $count i32) (param $ended i32) (result i32)
    (call $event (i32.const 512) (i32.const 15) (local.get $context) (local.get $count) (local.get $ended))
    (call $act (i32.const 0) (local.get $context) (local.get $ended)))
  (func (export "proxy_on_request_body") (param $context i32) (param $size i32) (param $ended i32) (result i32)
    (call $event (i32.const 528) (i32.const 12) (local.get $context) (local.get $size) (local.get $ended))
    (call $act (i32.const 1) (local.get $context) (local.get $ended)))
  (func (export "proxy_on_request_trailers") (param $context i32) (param $count i32) (result i32)
    (call $event (i32.const 544) (i32.const 16) (local.get $context) (local.get $count) (i32.const 1))
    (call $act (i32.const 2) (local.get $context) (i32.const 1)))
  (func (export "proxy_on_response_headers") (param $context i32) (param $count i32) (param $ended i32) (result i32)
    (call $event (i32.const 560) (i32.const 16) (local.get $context) (local.get $count) (local.get $ended))
    (call $act (i32.const 3) (local.get $context) (local.get $ended)))
  (func (export "proxy_on_response_body") (param $context i32) (param $size i32) (param $ended i32) (result i32)
    (call $event (i32.const 576) (i32.const 13) (local.get $context) (local.get $size) (local.get $ended))
    (call $act (i32.const 4) (local.get $context) (local.get $ended)))
  (func (export "proxy_on_response_trailers") (param $context i32) (param $count i32) (result i32)
    (call $event (i32.const 592) (i32.const 17) (local.get $context) (local.get $count) (i32.const 1))
    (call $act (i32.const 5) (local.get $context) (i32.const 1)))
  (func (export "proxy_on_log") (param $context i32)
    (call $event (i32.const 610) (i32.const 3) (local.get $context) (i32.const 0) (i32.const 0))
    (drop (call $act (i32.const 6) (local.get $context) (i32.const 1))))
  (func (export "proxy_on_done") (param $context i32) (result i32)
    (call $event (i32.const 624) (i32.const 4) (local.get $context) (i32.const 0) (i32.const 0))
    (drop (call $act (i32.const 7) (local.get $context) (i32.const 1)))
    (i32.const 1))
  (func (export "proxy_on_delete") (param $context i32)
    (call $event (i32.const 720) (i32.const 6) (local.get $context) (i32.const 0) (i32.const 0)))
  (func (export "proxy_on_tick") (param $context i32)
    (call $event (i32.const 640) (i32.const 4) (local.get $context) (i32.const 0) (i32.const 0))
    (drop (call $act (i32.const 8) (local.get $context) (i32.const 1))))
  (func (export "proxy_on_http_call_response") (param $context i32) (param $token i32) (param $headers i32) (param $body i32) (param $trailers i32)
    (call $event (i32.const 656) (i32.const 7) (local.get $context) (local.get $headers) (local.get $body))
    (drop (call $effective (global.get $waiting)))
    (drop (call $act (i32.const 9) (local.get $context) (i32.const 1)))))
