<?php
// Prints the fields that PHP reads in a form. An index in a name makes a list or a map of a field.
$fields = [];
foreach ($_POST as $name => $value) {
    $fields[] = [(string) $name, is_string($value) ? $value : json_encode($value, JSON_INVALID_UTF8_SUBSTITUTE)];
}
header("content-type: application/json");
echo json_encode($fields, JSON_INVALID_UTF8_SUBSTITUTE);
